"""What the benchmark scripts share: a full-size model of random weights, and streams to load it."""

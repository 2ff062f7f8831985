"""Many generations on one session of slots: continuous batching with a sampler of our own."""

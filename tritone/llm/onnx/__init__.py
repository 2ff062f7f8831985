"""The slot session on ONNX Runtime, and the graph that it runs."""

"""The language model by a kernel in C, on a CPU; without torch, onnx and ONNX Runtime."""

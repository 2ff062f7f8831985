"""The slot session in torch, on a GPU under CUDA graphs."""

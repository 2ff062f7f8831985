"""Kernels in C for processors on which torch leaves most units idle, and what runs them."""

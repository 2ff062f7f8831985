"""Kernels in C for processors on which torch leaves most of their units idle, and what runs them."""

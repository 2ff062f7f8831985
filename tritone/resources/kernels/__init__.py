"""Kernels in C, and how they are built and loaded; without torch or numpy."""

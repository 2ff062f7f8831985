"""Operators that do several things in one launch, for the flow's steps on a GPU.

A step is thousands of short kernels, and each takes some microseconds to begin. Here a transformer
block is five, and a block of convolutions three. `trial` decides whether they are used, `run` is
the pass that uses them, `kernels` has what runs on the GPU; `operators` makes each one call for
torch. On a CPU they run in the interpreter of the package `triton`, for tests.
"""

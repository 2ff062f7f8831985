"""The machine: instructions, cores, memory, kernels, folders, limits."""

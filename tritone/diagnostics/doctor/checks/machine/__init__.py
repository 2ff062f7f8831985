"""The machine: instructions, cores, memory, folders, limits."""

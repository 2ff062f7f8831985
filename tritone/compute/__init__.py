"""Devices, precisions and CUDA graphs by the names that configurations use; torch alone."""

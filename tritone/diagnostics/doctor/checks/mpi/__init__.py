"""MPI, which hangs the import of tensorrt_llm where something about it is wrong.

First what can be seen without importing anything, then imports in processes of their own. The
first check that fails names the cause.
"""

"""MPI, which hangs the import of tensorrt_llm where something about it is wrong.

First what can be seen without importing anything, then imports in processes of their own. The
first check that fails names the cause.
"""

from tritone.diagnostics.doctor.check import checks_in
from tritone.diagnostics.doctor.checks.mpi import host, imports, job, libraries

CHECKS = checks_in(job, libraries, host, imports)

"""The environment of processes that import tensorrt_llm.

Its import initialises MPI at once. Variables of a job that the process is not part of (it was
started by mpirun, srun or a scheduler's step) make Open MPI look for that job's daemon, and the
import hangs.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase

# Patterns of names. All but SLURM_* are what NVIDIA's LLM API model for Triton deletes before its
# import. Settings of the user (PMIX_MCA_*, other OMPI_MCA_*) are not among them.
INHERITED_JOB_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_NODE_RANK",
    "OMPI_UNIVERSE_SIZE",
    "OMPI_FIRST_RANKS",
    "OMPI_APP_CTX_NUM_PROCS",
    "OMPI_MCA_orte_*",
    "ORTE_*",
    "PMIX_RANK",
    "PMIX_NAMESPACE",
    "PMIX_SERVER_URI",
    "PMIX_SERVER_URI2",
    "PMIX_SERVER_URI21",
    "PMIX_SERVER_URI3",
    "PMIX_SERVER_TMPDIR",
    "PMIX_SYSTEM_TMPDIR",
    "PMIX_SECURITY_MODE",
    "PMIX_GDS_MODULE",
    "PMIX_BFROPS_MODULE",
    "PMIX_PTL_MODULE",
    "PMIX_VERSION",
    "PMIX_HOSTNAME",
    "PMI_RANK",
    "PMI_SIZE",
    "PMI_FD",
    "PMI_SPAWNED",
    "PMI_APPNUM",
    "SLURM_*",
)


def is_inherited(name: str) -> bool:
    """Whether a variable of this name ties a process to a job that it is not part of."""
    return any(fnmatchcase(name, pattern) for pattern in INHERITED_JOB_VARIABLES)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environment` (os.environ, say) without the INHERITED_JOB_VARIABLES."""
    return {name: value for name, value in environment.items() if not is_inherited(name)}

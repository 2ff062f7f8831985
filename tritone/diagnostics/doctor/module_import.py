"""An import in a process of its own, with nothing imported before it but the standard library."""

import importlib
import re
from pathlib import Path

_MPI = re.compile(r"/\S*/libmpi(?:_abi)?\.so\S*")


def import_module(name: str) -> list[str]:
    """Import a module; the MPI libraries that are loaded then."""
    importlib.import_module(name)
    return mpi_libraries()


def mpi_libraries() -> list[str]:
    """Paths of the MPI libraries in this process."""
    return sorted(set(_MPI.findall(Path("/proc/self/maps").read_text())))

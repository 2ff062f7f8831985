"""Loading a kernel that is built."""

import ctypes
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.resources.owners import trusted


def opened(path: Path) -> ctypes.CDLL:
    """A kernel's library; raises EnvironmentProblem for one that others could have changed, that
    cannot be loaded, and where the system denies this process the units that it needs."""
    try:
        library = ctypes.CDLL(str(trusted(path, own=2)))
        denied = library.tritone_prepare()
    except (OSError, AttributeError) as error:
        raise EnvironmentProblem(f"the kernel {path} cannot be loaded: {error}") from error
    if denied:
        raise EnvironmentProblem(f"the system denies the units that the kernel {path} needs")
    return library

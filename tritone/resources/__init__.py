"""Where things are that are no Python: Triton's models, the embedded voice, Triton's binaries.

A wheel holds the models and the voice as `model_repo/` and `embedded/` beside this file. In a
checkout these two are links to the checkout's own folders.
"""

import os
import tempfile
from pathlib import Path

from tritone.variables import (
    CACHE_VARIABLE,
    FAMILIES_VARIABLE,
    KERNELS_VARIABLE,
    VOICES_VARIABLE,
)

_HERE = Path(__file__).absolute().parent  # a link to a checkout stays one


def checkout() -> Path | None:
    """The checkout that this package is run from; None where it is installed from a wheel."""
    folder = installed()
    return folder if (folder / "pyproject.toml").is_file() else None


def installed() -> Path:
    """The folder that this package is imported from."""
    return _HERE.parents[1]


def model_repository() -> Path:
    """The Triton models that are served."""
    return (_HERE / "model_repo").resolve()


def embedded_voice() -> Path:
    """The model directory of the voice that comes along."""
    return (_HERE / "embedded").resolve()


def default_cache_dir() -> Path:
    """Where logs, binaries and what is made for this machine go: TRITONE_CACHE, else by the XDG
    base directory convention."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "tritone"


def kernels_dir(cache_dir: Path | None = None) -> Path:
    """Where kernels in C are built: TRITONE_KERNELS, else in the cache, this one or the usual."""
    named = os.environ.get(KERNELS_VARIABLE)
    return Path(named) if named else (cache_dir or default_cache_dir()) / "kernels"


def voice_registry_dir() -> Path:
    """Where added voices are kept: TRITONE_VOICES, else by the XDG base directory convention among
    the user's data, which no one empties as they empty a cache. It need not exist."""
    if named := os.environ.get(VOICES_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_DATA_HOME") or home() / ".local/share") / "tritone" / "voices"


def home() -> Path:
    """The user's home; a temporary folder of the user's own where there is none."""
    if has_home():
        return Path.home()
    return Path(tempfile.gettempdir()) / f"tritone-{os.getuid()}"


def has_home() -> bool:
    """False without HOME for a user that this machine does not know, as containers may have it."""
    try:
        Path.home()
    except RuntimeError:
        return False
    return True


def triton_folder() -> Path:
    """Where the server's wheel is unpacked: `.triton` in a checkout, else a folder of the user."""
    root = checkout()
    return root / ".triton" if root else default_cache_dir() / "triton"


def family_folders() -> list[Path]:
    """Where model families lie, each in a folder: in this package, and where TRITONE_FAMILIES says,
    as in PATH."""
    named = os.environ.get(FAMILIES_VARIABLE, "").split(os.pathsep)
    return [_HERE.parent / "families", *(Path(folder) for folder in named if folder)]

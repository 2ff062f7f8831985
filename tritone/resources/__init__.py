"""Where things are that are no Python: Triton's models, the embedded voice, Triton's binaries.

A wheel holds the models and the voice as `model_repo/` and `embedded/` beside this file. In a
checkout these two are links to the checkout's own folders.
"""

import os
from pathlib import Path

from tritone.variables import FAMILIES_VARIABLE

_HERE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """The checkout that this package is run from; None where it is installed from a wheel."""
    folder = _HERE.parents[1]
    return folder if (folder / "pyproject.toml").is_file() else None


def model_repository() -> Path:
    """The Triton models that are served."""
    return (_HERE / "model_repo").resolve()


def embedded_voice() -> Path:
    """The model directory of the voice that comes along."""
    return (_HERE / "embedded").resolve()


def default_cache_dir() -> Path:
    """Where prepared backends, logs and binaries go, by the XDG base directory convention."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritone"


def triton_folder() -> Path:
    """Where the server's wheel is unpacked: `.triton` in a checkout, else a folder of the user."""
    root = checkout()
    return root / ".triton" if root else default_cache_dir() / "triton"


def family_folders() -> list[Path]:
    """Where model families lie, each in a folder: in this package, and where TRITONE_FAMILIES says,
    as in PATH."""
    named = os.environ.get(FAMILIES_VARIABLE, "").split(os.pathsep)
    return [_HERE.parent / "families", *(Path(folder) for folder in named if folder)]

"""The optional packages of an evaluation, with a message that says how to get a missing one."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tritone.errors import EnvironmentProblem

ASR_INSTALL = "pip install -e '.[asr]'"


def module(name: str, install: str = ASR_INSTALL) -> ModuleType:
    """Import an optional module; EnvironmentProblem with `install` where it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(f"{error.name} is not installed: {install}") from error


def folder(name: str, install: str = ASR_INSTALL) -> Path:
    """Where a package keeps its files. The package is not imported, so what it imports may lack."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EnvironmentProblem(f"{name} is not installed: {install}")
    return Path(spec.origin).parent

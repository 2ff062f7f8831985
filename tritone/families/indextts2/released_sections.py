"""Sections of the configuration, from numbers that stand in released files."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tritone.checkpoints.plain_yaml import shown
from tritone.config import Strict, problems
from tritone.errors import ModelDirectoryError

StrictT = TypeVar("StrictT", bound=Strict)


def check_is(path: Path, name: str, found: object, wanted: object) -> None:
    """Raises ModelDirectoryError where a value is none that our networks are built for."""
    if found != wanted:
        raise ModelDirectoryError(f"{path}: {name} is {shown(found)}; only {wanted!r} works")


def section(kind: type[StrictT], path: Path, **numbers: Any) -> StrictT:
    """Raises ModelDirectoryError that names the file and each number at fault."""
    try:
        return kind(**numbers)
    except ValidationError as error:
        raise ModelDirectoryError(f"{path}: {problems(error)}") from error

"""Model families. A family is a folder with one value, `FAMILY`; `config.json` names it.

Folders named in TRITONE_FAMILIES (separated as in PATH) may hold further families.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from tritone.config import CONFIG_NAME, read_content
from tritone.errors import ModelDirectoryError
from tritone.families.contract import Family, Model
from tritone.resources import family_folders

__path__ = [str(folder) for folder in family_folders()]

NAME = re.compile(r"[a-z][a-z0-9]*")


def known() -> list[str]:
    """The names of all families, sorted; those that are only folders of checks left out."""
    heads = [head for folder in family_folders() for head in folder.glob("*/__init__.py")]
    return sorted({h.parent.name for h in heads if "\nFAMILY" in h.read_text(encoding="utf-8")})


def family_named(name: str) -> Family[Any]:
    """Raises ModelDirectoryError for a name that is unknown, and for a family that lacks a part."""
    if not NAME.fullmatch(name) or name not in known():
        raise ModelDirectoryError(f"family {name!r} is unknown; known are {', '.join(known())}")
    try:
        family: Any = import_module(f"{__name__}.{name}").FAMILY
    except TypeError as error:  # an abstract method is missing
        raise ModelDirectoryError(f"family {name!r} is not complete: {error}") from error
    if not isinstance(family, Family):
        raise ModelDirectoryError(f"family {name!r}: FAMILY is {type(family).__name__}, no Family")
    return family


def open_model(model_dir: Path) -> Model:
    """The family and the configuration of a model directory; raises ModelDirectoryError."""
    content = read_content(model_dir)
    try:
        family = family_named(content["family"])
    except ModelDirectoryError as error:
        raise ModelDirectoryError(f"{model_dir}: {error}") from error
    path = model_dir / CONFIG_NAME
    others = sorted(content.keys() & set(known()) - {family.name})
    if others and family.name not in content:
        raise ModelDirectoryError(
            f"{path}: family is {family.name!r}, but the section is that of {others[0]!r}: set "
            f"family to {others[0]!r}, or convert the release again"
        )
    return Model(model_dir, family, family.config.of_content(content, path))


def all_families() -> list[Family[Any]]:
    return [family_named(name) for name in known()]


__all__ = ["Family", "Model", "all_families", "family_named", "known", "open_model"]

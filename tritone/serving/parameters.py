"""What a deployment sets: `parameters` in config.pbtxt, and where the model directory is."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritone.errors import ModelDirectoryError

MODEL_VARIABLE = "TRITONE_MODEL"
EMBEDDED = Path("checkpoints") / "embedded"  # beside model_repo/


def model_directory(args: Mapping[str, str]) -> Path:
    """The model directory: $TRITONE_MODEL, or the embedded voice of this checkout.

    args: as `initialize` gets them. Raises ModelDirectoryError when it does not exist.
    """
    named = os.environ.get(MODEL_VARIABLE)
    repository = Path(args["model_repository"]).resolve().parent
    path = Path(named) if named else repository.parent / EMBEDDED
    if not path.is_dir():
        raise ModelDirectoryError(
            f"{path} is no directory; set {MODEL_VARIABLE} to what scripts/convert.py wrote"
        )
    return path


def parameters(args: Mapping[str, str], **defaults: Any) -> dict[str, Any]:
    """The model's parameters, each of the type of its default.

    Raises ValueError for a name that has no default or a value that does not parse: a misspelt
    setting must not be ignored.
    """
    given = json.loads(args["model_config"]).get("parameters", {})
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known: {', '.join(defaults)}")
    values = dict(defaults)
    for name, entry in given.items():
        kind, text = type(defaults[name]), entry["string_value"]
        try:
            values[name] = kind(text)
        except ValueError as error:
            raise ValueError(f"parameter {name} is {text!r}, not {kind.__name__}") from error
    return values

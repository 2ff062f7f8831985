"""What a deployment sets: `parameters` in config.pbtxt, and where the model directory is."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritone.errors import ModelDirectoryError
from tritone.resources import embedded_voice
from tritone.variables import DEVICE_VARIABLE, MODEL_VARIABLE

EMBEDDED = Path("checkpoints") / "embedded"  # beside model_repo/


def model_directory(args: Mapping[str, str]) -> Path:
    """The model directory: $TRITONE_MODEL, or the embedded voice.

    args: as `initialize` gets them. Raises ModelDirectoryError when it does not exist.
    """
    named = os.environ.get(MODEL_VARIABLE)
    path = Path(named) if named else embedded_voice()
    if not path.is_dir():
        raise ModelDirectoryError(
            f"{path} is no directory; set {MODEL_VARIABLE} to what `tritone convert` wrote"
        )
    return path


def torch_device_name() -> str:
    """Where flow and vocoder run: $TRITONE_DEVICE, which the launcher sets, or the CPU."""
    return os.environ.get(DEVICE_VARIABLE, "cpu")


def uses_plans(values: Mapping[str, Any]) -> bool:
    """Whether the parameter `engine` names TensorRT plans; raises ValueError for another word."""
    if values["engine"] not in ("torch", "tensorrt"):
        raise ValueError(f"parameter engine is {values['engine']!r}; take torch or tensorrt")
    return bool(values["engine"] == "tensorrt")


def given_parameters(args: Mapping[str, str]) -> dict[str, str]:
    """The model's parameters as they are written."""
    given = json.loads(args["model_config"]).get("parameters", {})
    return {name: entry["string_value"] for name, entry in given.items()}


def parameters(args: Mapping[str, str], **defaults: Any) -> dict[str, Any]:
    """The model's parameters, each of the type of its default.

    Raises ValueError for a name that has no default or a value that does not parse: a misspelt
    setting must not be ignored.
    """
    given = given_parameters(args)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known: {', '.join(defaults)}")
    values = dict(defaults)
    for name, text in given.items():
        kind = type(defaults[name])
        try:
            values[name] = kind(text)
        except ValueError as error:
            raise ValueError(f"parameter {name} is {text!r}, not {kind.__name__}") from error
    return values

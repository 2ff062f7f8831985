"""What every model's `initialize` needs: the parameters that a deployment sets in config.pbtxt, the
model directory, and Triton's log for the steps of loading."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tritone import variables
from tritone.errors import ModelDirectoryError
from tritone.families import Model, open_model
from tritone.loading.reports import line
from tritone.loading.steps import Loader, Report
from tritone.resources import embedded_voice
from tritone.serving import beat


def served_model() -> Model:
    """The model directory $TRITONE_MODEL, or the embedded voice; raises ModelDirectoryError."""
    named = os.environ.get(variables.MODEL_VARIABLE)
    path = Path(named) if named else embedded_voice()
    if not path.is_dir():
        what = f"set {variables.MODEL_VARIABLE} to what `tritone convert` wrote"
        raise ModelDirectoryError(f"{path} is no directory; {what}")
    return open_model(path)


def device_name(asked: str = "auto") -> str:
    """Where flow and vocoder run, as the parameter `device` says. auto: $TRITONE_DEVICE, which the
    launcher sets, or the CPU."""
    return os.environ.get(variables.DEVICE_VARIABLE, "cpu") if asked == "auto" else asked


def uses_plans(values: Mapping[str, Any]) -> bool:
    """Whether the parameter `engine` names TensorRT plans; raises ValueError for another word."""
    if values["engine"] not in ("torch", "tensorrt"):
        raise ValueError(f"parameter engine is {values['engine']!r}; take torch or tensorrt")
    return bool(values["engine"] == "tensorrt")


def left_chunks(values: Mapping[str, Any]) -> int | None:
    """What the parameter `left_context_chunks` says, None for auto; raises ValueError."""
    said: str = values["left_context_chunks"]
    if said == "auto":
        return None
    if not said.isdecimal():
        raise ValueError(
            f"parameter left_context_chunks is {said!r}; take auto, or a number of chunks, "
            "0 for all of the past"
        )
    return int(said)


def given_parameters(args: Mapping[str, str]) -> dict[str, str]:
    """The model's parameters as they are written, and as the launcher was told to change them."""
    given = json.loads(args["model_config"]).get("parameters", {})
    written = {name: entry["string_value"] for name, entry in given.items()}
    return {**written, **changed_parameters(args)}


def changed_parameters(args: Mapping[str, str]) -> dict[str, str]:
    """Those of the model that the launcher was told to change."""
    return changed_settings(args.get("model_name", ""))


def changed_settings(model: str) -> dict[str, str]:
    """The parameters of any model of this server that the launcher was told to change."""
    changed = json.loads(os.environ.get(variables.SETTINGS_VARIABLE) or "{}")
    own: dict[str, str] = changed.get(model, {})
    return own


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


@contextmanager
def watched(model: str) -> Iterator[None]:
    """What is loaded within is reported step by step; also a decorator, for `initialize`. After it
    the process tells the launcher that it lives.

    Raises ValueError for a variable that is no positive number.
    """
    named = os.environ.get(variables.MODEL_VARIABLE)
    with Loader(
        model,
        _to_log,
        patience=_seconds(variables.PATIENCE_VARIABLE) or 1.0,
        deadline_s=_seconds(variables.DEADLINE_VARIABLE),
        model_dir=Path(named) if named else None,
        profile=os.environ.get(variables.PROFILE_VARIABLE),
    ):
        yield
    beat.start()


def _to_log(report: Report) -> None:
    from triton_python_backend_utils import Logger as log

    write = log.log_info if report.kind in ("begins", "done") else log.log_warn
    write(line(report))


def _seconds(variable: str) -> float | None:
    text = os.environ.get(variable)
    if not text:
        return None
    with suppress(ValueError):
        if (value := float(text)) > 0:
            return value
    raise ValueError(f"{variable} is {text!r}; it must be a number above 0")

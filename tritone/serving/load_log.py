"""Watched loading in the server's models: their steps go to Triton's log."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import triton_python_backend_utils as pb_utils

from tritone.loading.reports import line
from tritone.loading.steps import Loader, Report
from tritone.variables import DEADLINE_VARIABLE, MODEL_VARIABLE, PATIENCE_VARIABLE, PROFILE_VARIABLE


@contextmanager
def watched(model: str) -> Iterator[None]:
    """What is loaded within is reported step by step; also a decorator, for `initialize`.

    Raises ValueError for a variable that is no positive number.
    """
    named = os.environ.get(MODEL_VARIABLE)
    patience, deadline = _seconds(PATIENCE_VARIABLE), _seconds(DEADLINE_VARIABLE)
    loader = Loader(
        model,
        _to_log,
        patience=patience or 1.0,
        deadline_s=deadline,
        model_dir=Path(named) if named else None,
        profile=os.environ.get(PROFILE_VARIABLE),
    )
    with loader:
        yield


def _to_log(report: Report) -> None:
    log = pb_utils.Logger
    write = log.log_info if report.kind in ("begins", "done") else log.log_warn
    write(line(report))


def _seconds(variable: str) -> float | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"{variable} is {text!r}; it must be a number above 0")
    return value

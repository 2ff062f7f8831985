"""What of a model directory can only be tried with the packages that serve it.

It runs in a process of its own, so that a library that hangs or crashes is named by the doctor and
does not end it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.finding import Finding, failure
from tritone.diagnostics.doctor.isolated import call

PROBE_S = 35.0  # torch from a cold disk, on a busy machine: 25 were once too few


def probe(
    function: Callable[[str], dict[str, Any]],
    folder: Path,
    when_refused: str,
    limit_s: float = PROBE_S,
) -> Finding | dict[str, Any]:
    """What a function says of a model directory, or what came in its way.

    when_refused: the next step where the directory is at fault, and not the installation.
    """
    outcome = call(function, str(folder), limit_s=limit_s)
    if outcome.late:
        return failure(
            f"did not end within {limit_s:g} s; it was in {outcome.place}",
            f"load it step by step, which names the one that hangs: python tritone load {folder}",
        )
    if outcome.refused:
        return failure(outcome.last_line, when_refused)
    if outcome.status != 0:
        return failure(
            f"broke with status {outcome.status}: {outcome.last_line}",
            "look at the installation: tritone doctor --only python --verbose",
        )
    answer: dict[str, Any] = outcome.answer
    return answer

"""Runs checks, each in a process of its own, and repairs what is safe to repair."""

import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import Check, Finding, Status, failure, skipped
from tritone.diagnostics.doctor.child import load
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target

AT_ONCE = 4  # most checks wait for something else than the processor
_START_S = 5.0  # for the process itself to begin on a busy machine; on a free one it takes 0.1 s


@dataclass(frozen=True)
class Diagnosis:
    """A check and what it found; stacks of all threads where it hung."""

    check: Check
    finding: Finding
    seconds: float
    stacks: str = ""


def examine(
    checks: Sequence[Check],
    target: Target,
    *,
    fix: bool = False,
    slow: float = 1.0,
    on_done: Callable[[Diagnosis], object] = lambda diagnosis: None,
) -> list[Diagnosis]:
    """Run the checks, some at a time; the diagnoses come in the order of the checks.

    fix: run the repair of what is repairable, and look again. slow: factor on every time limit.
    on_done: called for each as it ends.
    """

    def one(check: Check) -> Diagnosis:
        diagnosis = _run(check, target, slow)
        if fix and diagnosis.finding.repairable and check.repair is not None:
            done = check.repair(target)
            again = _run(check, target, slow)
            text = f"{again.finding.text} (repaired: {done})"
            diagnosis = replace(again, finding=replace(again.finding, text=text))
        on_done(diagnosis)
        return diagnosis

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, checks))


def _run(check: Check, target: Target, slow: float) -> Diagnosis:
    limit = slow * check.limit_s
    file = str(Path(inspect.getfile(check.run)).absolute())
    where = (check.run.__module__, file, check.run.__qualname__)
    outcome = call(finding_of, *where, target.to_json(), limit_s=limit + _START_S)
    if outcome.late:
        text = f"did not end within {limit:g} s; it was in {outcome.place}"
        finding = failure(text, check.when_late.format(name=check.name))
    elif outcome.status != 0:
        text = f"the check itself broke (status {outcome.status}): {outcome.last_line}"
        see = f"see the whole error: tritone doctor --only {check.name} --verbose"
        finding = failure(text, see)
    else:
        values: dict[str, Any] = outcome.answer
        finding = Finding(**{**values, "status": Status(values["status"])})
    stacks = outcome.error if outcome.status != 0 else ""
    return Diagnosis(check, finding, outcome.seconds, stacks)


def finding_of(module: str, file: str, function: str, target: str) -> dict[str, Any]:
    """In the process of a check: what its function finds, for JSON. target: as JSON."""
    try:
        look = getattr(load(module, Path(file)), function)
        found: Finding = look(Target.from_json(target))
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "psutil":
            raise
        found = skipped("psutil cannot be imported: see python.imports")
    return asdict(found)

"""Runs checks, each in a process of its own, and repairs what is safe to repair."""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from tritone.diagnostics.doctor.check import Check, Finding, Status, failure
from tritone.diagnostics.doctor.isolated import STACKS_ON_SIGNAL, Outcome, run_isolated
from tritone.diagnostics.doctor.target import Target

AT_ONCE = 4  # most checks wait for something else than the processor
_START_S = 5.0  # for the process itself to begin on a busy machine; on a free one it takes 0.1 s
_ANSWER = "finding: "
_CHILD = (
    STACKS_ON_SIGNAL + "from tritone.diagnostics.doctor.examine import child\nchild(sys.argv)\n"
)


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
            found = Finding(again.finding.status, text, again.finding.fix)
            diagnosis = Diagnosis(check, found, again.seconds, again.stacks)
        on_done(diagnosis)
        return diagnosis

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, checks))


def _run(check: Check, target: Target, slow: float) -> Diagnosis:
    limit = slow * check.limit_s
    where = f"{check.run.__module__}:{check.run.__qualname__}"
    command = [sys.executable, "-c", _CHILD, where, json.dumps(target.plain())]
    outcome = run_isolated(command, limit + _START_S)
    return Diagnosis(check, _finding(check, outcome, limit), outcome.seconds, _stacks(outcome))


def _finding(check: Check, outcome: Outcome, limit: float) -> Finding:
    if outcome.late:
        doing = innermost(outcome.error) or "native code"
        text = f"did not end within {limit:g} s; it was in {doing}"
        return failure(text, check.when_late.format(name=check.name))
    for line in reversed(outcome.output.splitlines()):
        if line.startswith(_ANSWER):
            values: dict[str, Any] = json.loads(line[len(_ANSWER) :])
            return Finding(**{**values, "status": Status(values["status"])})
    return failure(
        f"the check itself broke (status {outcome.status}): {outcome.last_line}",
        f"see the whole error: scripts/doctor.py --only {check.name} --verbose",
    )


def child(arguments: Sequence[str]) -> None:
    """The process of one check: `module:function` and the target as JSON; prints the finding."""
    module, _, function = arguments[1].partition(":")
    run = getattr(importlib.import_module(module), function)
    finding = run(Target.from_plain(json.loads(arguments[2])))
    sys.stdout.write(f"\n{_ANSWER}{json.dumps(asdict(finding))}\n")


def _stacks(outcome: Outcome) -> str:
    return outcome.error if outcome.status != 0 else ""


def innermost(stacks: str) -> str:
    """The newest frame of the thread that took the signal, as faulthandler writes it."""
    _, _, main = stacks.rpartition("Current thread ")
    frames = [line.strip() for line in main.splitlines() if line.strip().startswith("File ")]
    return frames[0] if frames else ""

"""A target is tried with many cases, and what came of them is counted.

Cases come from hypothesis, from a seed alone: the same seed, target and number give the same cases.
A fault does not end a campaign; each kind of fault is kept once, with the first case that shows it.
"""

import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

SHOWN = 600  # characters of a case and of what it came to


class Verdict(NamedTuple):
    """kind: a fault is whatever is neither served nor refused with a clear error."""

    kind: Literal["accepted", "refused", "fault"]
    message: str = ""


@dataclass(frozen=True)
class Target:
    """What is tried. tried: one case to what came of it."""

    name: str
    cases: SearchStrategy[Any]
    tried: Callable[[Any], Verdict]


@dataclass
class Outcome:
    """faults: the first message of each kind, with its case."""

    name: str
    cases: int = 0
    accepted: int = 0
    refused: int = 0
    faulty: int = 0
    seconds: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, case: Any, verdict: Verdict) -> None:
        self.cases += 1
        self.accepted += verdict.kind == "accepted"
        self.refused += verdict.kind == "refused"
        if verdict.kind == "fault":
            self.faulty += 1
            kind = "".join(c for c in verdict.message if not c.isdigit())[:90]
            shown = f"{verdict.message:.{SHOWN}}\n  case: {case!r:.{SHOWN}}"
            self.faults.setdefault(kind, shown)


def attempt(target: Target, cases: int, seed: int) -> Outcome:
    """Try a target with so many cases, or as many as there are."""
    outcome = Outcome(target.name)

    @hypothesis.seed(zlib.crc32(f"{seed} {target.name}".encode()))
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.cases)
    def each(case: Any) -> None:
        outcome.add(case, target.tried(case))

    started = time.monotonic()
    each()
    outcome.seconds = time.monotonic() - started
    return outcome


def shared(shares: Mapping[str, int], cases: int) -> dict[str, int]:
    """How many of all cases each target gets; at least one. shares: against one another's."""
    total = sum(shares.values())
    return {name: max(1, -(-cases * share // total)) for name, share in shares.items()}

"""A check, and when it does not apply."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from tritone.diagnostics.doctor.finding import Finding, skipped
from tritone.diagnostics.doctor.target import Target


def unless(
    reason: Callable[[Target], str],
) -> Callable[[Callable[[Target], Finding]], Callable[[Target], Finding]]:
    """Decorates the function of a check: where `reason` says why, it is skipped for that."""

    def decorated(run: Callable[[Target], Finding]) -> Callable[[Target], Finding]:
        @wraps(run)
        def look(target: Target) -> Finding:
            why = reason(target)
            return skipped(why) if why else run(target)

        return look

    return decorated


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table.

    name: group.subject. run: a function of a module; looks, changes nothing, and returns. What it
        raises becomes a failure. It runs in a process of its own, which is killed after limit_s.
    when_late: the next step if it does not end in time.
    repair: does what `--fix` may do, and says what it did. It must be safe to run at any time.
    """

    name: str
    run: Callable[[Target], Finding]
    limit_s: float = 10.0
    when_late: str = "run it alone, with more time: scripts/doctor.py --only {name} --slow 10"
    repair: Callable[[Target], str] | None = None

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

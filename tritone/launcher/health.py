"""Whether the process of a model still works. A rule alone: others look, count and act.

Time is counted in looks, not read from a clock: one that jumps, or a machine that slept, is no
reason to end anybody.
"""

from dataclasses import dataclass
from typing import NamedTuple

LOOK_S = 0.25
"""Between two looks, and between two beats."""

_STOPPED_LOOKS = 2
_SILENT_LOOKS = 12
_IDLE = 0.05  # of a CPU: a silent process that computes is busy, not stuck


class Beat(NamedTuple):
    """What a process told: requests that it works on, and how often one of them went on."""

    running: int
    progress: int


@dataclass(frozen=True)
class Sight:
    """One look at a process. beat: its latest since the look before. stopped: by a signal.
    cpu_s: CPU time so far. resident: bytes."""

    beat: Beat | None
    stopped: bool
    cpu_s: float
    resident: int


@dataclass(frozen=True)
class HealthLimits:
    """memory_mb: resident memory of each model's process. stall_s: that requests are worked on and
    none goes on. 0: unlimited."""

    memory_mb: int = 0
    stall_s: float = 120.0


class Health:
    """Of one process, look by look."""

    def __init__(self, limits: HealthLimits) -> None:
        self._limits = limits
        self._beat: Beat | None = None
        self._stopped = self._silent = self._stalled = 0  # looks
        self._heard_cpu_s = 0.0

    def judge(self, sight: Sight) -> str:
        """Why the process has to be replaced; empty while it works."""
        self._count(sight)
        megabytes = sight.resident >> 20
        if self._limits.memory_mb and megabytes > self._limits.memory_mb:
            return (
                f"it has {megabytes} MB; the limit (--memory-limit-mb) is {self._limits.memory_mb}"
            )
        if self._stopped >= _STOPPED_LOOKS:
            return "it was stopped by a signal"
        if self._silent >= _SILENT_LOOKS and not self._computes(sight):
            return f"it has stood still for {self._silent * LOOK_S:g} s"
        if self._limits.stall_s and self._stalled * LOOK_S >= self._limits.stall_s:
            return f"none of its requests went on for {self._limits.stall_s:g} s (--stall-seconds)"
        return ""

    def _count(self, sight: Sight) -> None:
        self._stopped = self._stopped + 1 if sight.stopped else 0
        if sight.beat is None:
            self._silent += self._beat is not None  # others, such as C++ models, never tell
            return
        before = self._beat.progress if self._beat else -1
        goes_on = not sight.beat.running or sight.beat.progress != before
        self._stalled = 0 if goes_on else self._stalled + 1
        self._beat, self._silent, self._heard_cpu_s = sight.beat, 0, sight.cpu_s

    def _computes(self, sight: Sight) -> bool:
        return sight.cpu_s - self._heard_cpu_s > _IDLE * self._silent * LOOK_S

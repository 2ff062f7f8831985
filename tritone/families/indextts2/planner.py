"""When codes go to the flow. Sans-I/O: no clock, no lock, no torch."""

from dataclasses import dataclass

from tritone.errors import EnvironmentProblem
from tritone.families.indextts2.pace import HELD_FRAMES, frames_of
from tritone.llm.contract import Increment

_FEWEST = next(codes for codes in range(1, 1000) if frames_of(codes) > HELD_FRAMES)


@dataclass(frozen=True)
class HopPolicy:
    """The sizes of hops in codes: the first, and each larger by `growth` until `max_hop`.

    They are the same for every request, whatever its pace: a window's frames depend on where it
    ends, and equal requests are to sound alike. Raises EnvironmentProblem for sizes that cannot be.
    """

    first_hop: int = 50
    max_hop: int = 100
    growth: int = 25

    def __post_init__(self) -> None:
        for name, least in (("first_hop", _FEWEST), ("max_hop", self.first_hop)):
            value = getattr(self, name)
            if value < least:
                raise EnvironmentProblem(
                    f"setting {name} is {value}; it must be at least {least} speech codes"
                )

    def size(self, index: int) -> int:
        """Of the hop with this index, from 0."""
        return min(self.first_hop + index * self.growth, self.max_hop)


class HopPlanner:
    """`tritone.synthesis.rules.Planner` of one segment; the pace of a stream changes nothing."""

    def __init__(self, policy: HopPolicy) -> None:
        self._policy = policy
        self._waiting = Increment.joined([])
        self._hops = 0

    def push(self, increment: Increment) -> None:
        self._waiting = Increment.joined([self._waiting, increment])

    @property
    def ready(self) -> bool:
        return len(self._waiting) >= self._policy.size(self._hops)

    def take(
        self, seconds_ahead: float, seconds_per_token: float, *, alone: bool = False
    ) -> Increment:
        """See `Planner.take`."""
        assert self.ready
        size = self._policy.size(self._hops)
        self._hops += 1
        hop, self._waiting = self._waiting[:size], self._waiting[size:]
        return hop

    def rest(self) -> Increment:
        rest, self._waiting = self._waiting, self._waiting[:0]
        return rest

"""The memory that loading will take, by part, told before its first step.

A model that does not fit is refused then, by numbers, and not found out by a machine that swaps or
by the kernel, which ends the largest process without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tritone.errors import EnvironmentProblem

_GIB = 2**30


@dataclass(frozen=True)
class Need:
    """Bytes of main memory that a part takes. without: what to do to serve without it, and what is
    lost then; empty for what has to be there."""

    part: str
    nbytes: int
    without: str = ""

    def __str__(self) -> str:
        return f"{self.part} {self.nbytes / _GIB:.1f}"


def total(needs: Sequence[Need]) -> int:
    return sum(need.nbytes for need in needs)


def told(needs: Sequence[Need]) -> str:
    """In words, the largest first: "6.1 GiB (language model 1.8, flow 0.4)"."""
    parts = ", ".join(map(str, sorted(needs, key=lambda need: -need.nbytes)))
    return f"{total(needs) / _GIB:.1f} GiB ({parts})"


def check_room(needs: Sequence[Need], free: int) -> None:
    """Raise EnvironmentProblem that says what is needed and what can be left out, where `free`
    bytes are less. No needs, no check."""
    if total(needs) <= free:
        return
    more = "end other processes, or give the machine or container more memory"
    kept = [need for need in needs if not need.without]
    if total(kept) <= free:
        more = f"{more}, or leave out {_spared(needs, total(needs) - free)}"
    elif len(kept) < len(needs):
        more = f"without what can be left out {total(kept) / _GIB:.1f} GiB; {more}"
    raise EnvironmentProblem(
        f"main memory: needs {told(needs)}, {free / _GIB:.1f} GiB are free: {more}"
    )


def _spared(needs: Sequence[Need], lacking: int) -> str:
    """The parts each of which is enough to leave out, or all of them where none is."""
    spared = [need for need in needs if need.without]
    enough = [need for need in spared if need.nbytes >= lacking]
    word = "; or " if enough else "; and "
    return word.join(f"{need}: {need.without}" for need in enough or spared)

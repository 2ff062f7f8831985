"""Which stream has which slot.

Streams that draw have slots 0..n-1, since a step advances the first n; behind them are those that
wait for text. A hole is filled by the last one of its kind.
"""

from collections.abc import Callable
from typing import Protocol

from tritone.llm.generation import Stream


class Movable(Protocol):
    """The part of a `SlotSession` that this needs."""

    def move(self, source: int, target: int, length: int) -> None: ...

    def swap(self, first: int, second: int, length: int) -> None: ...

    def clear(self, slot: int) -> None: ...


class Places:
    """drawing, waiting: streams in the order of their slots."""

    def __init__(self, session: Movable) -> None:
        self._session = session
        self.drawing: list[Stream] = []
        self.waiting: list[Stream] = []

    def __len__(self) -> int:
        return len(self.drawing) + len(self.waiting)

    @property
    def streams(self) -> list[Stream]:
        return [*self.drawing, *self.waiting]

    def slot_of(self, waiting: Stream) -> int:
        return len(self.drawing) + self.waiting.index(waiting)

    def add(self, stream: Stream, slot: int) -> None:
        """Take in a stream that has been read into a slot behind all others; it waits."""
        if slot != len(self):
            self._session.move(slot, len(self), stream.length)
            self._session.clear(slot)
        self.waiting.append(stream)

    def draw(self, stream: Stream) -> None:
        """A stream that has waited draws."""
        first = self.waiting[0]
        if stream is not first:
            longest = max(stream.length, first.length)
            self._session.swap(self.slot_of(stream), len(self.drawing), longest)
            self.waiting[self.waiting.index(stream)] = first
        self.drawing.append(stream)
        del self.waiting[0]

    def wait(self, stream: Stream) -> None:
        """A stream that has drawn waits."""
        last, slot = self.drawing[-1], self.drawing.index(stream)
        if stream is not last:
            longest = max(stream.length, last.length)
            self._session.swap(slot, len(self.drawing) - 1, longest)
            self.drawing[slot] = last
        self.drawing.pop()
        self.waiting.insert(0, stream)

    def free(self, leaves: Callable[[Stream], bool]) -> None:
        """Free the slots of all streams that leave."""
        for stream in [stream for stream in self.streams if leaves(stream)]:
            if stream in self.drawing:
                self._free_drawing(stream)
            else:
                self._free_waiting(stream)
            self._session.clear(len(self))

    def _free_drawing(self, stream: Stream) -> None:
        slot, last = self.drawing.index(stream), self.drawing.pop()
        hole = len(self.drawing)
        if stream is not last:
            self._session.move(hole, slot, last.length)
            self.drawing[slot] = last
        if self.waiting:
            behind = self.waiting.pop()
            self._session.move(hole + len(self.waiting) + 1, hole, behind.length)
            self.waiting.insert(0, behind)

    def _free_waiting(self, stream: Stream) -> None:
        slot, last = self.slot_of(stream), self.waiting[-1]
        if stream is not last:
            self._session.move(len(self) - 1, slot, last.length)
            self.waiting[slot - len(self.drawing)] = last
        self.waiting.pop()

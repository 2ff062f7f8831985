"""Text that knows where each of its characters came from."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Change:
    """A rule read source[start:end] as something else; for those who want to know why."""

    rule: str
    start: int
    end: int
    before: str
    after: str


Seen = Callable[[Change], None]


def ignore(change: Change) -> None:
    """For those who do not want to know why."""


@dataclass(frozen=True)
class Traced:
    """origin: of each character, its offset in the source, and last that of the end; not falling.

    What replaces a piece begins where that piece began.
    """

    text: str
    origin: tuple[int, ...]

    @classmethod
    def of(cls, text: str, start: int = 0) -> "Traced":
        """A source, or the part of one that begins at `start`."""
        return cls(text, tuple(range(start, start + len(text) + 1)))

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, part: slice) -> "Traced":
        start, stop, _ = part.indices(len(self.text))
        return Traced(self.text[start:stop], self.origin[start : max(start, stop) + 1])

    def within(self, source: "Traced") -> "Traced":
        """The same, where this is traced to source.text: traced to what that came from."""
        return Traced(self.text, tuple(source.origin[offset] for offset in self.origin))

    @property
    def span(self) -> tuple[int, int]:
        return self.origin[0], self.origin[-1]

    def replaced(self, pieces: Iterable[tuple[int, int, str]]) -> "Traced":
        """With text[start:end] of each piece replaced; pieces in order, none over another."""
        texts: list[str] = []
        origin: list[int] = []
        last = 0
        for start, end, new in pieces:
            texts += [self.text[last:start], new]
            origin += [*self.origin[last:start], *[self.origin[start]] * len(new)]
            last = end
        texts.append(self.text[last:])
        return Traced("".join(texts), (*origin, *self.origin[last:]))

    def sub(
        self,
        pattern: re.Pattern[str],
        new: Callable[[re.Match[str]], str | None],
        seen: Seen = ignore,
        rule: str = "",
    ) -> "Traced":
        """As re.sub; a match for which `new` gives None stays. seen: is told of every change."""
        pieces = []
        for match in pattern.finditer(self.text):
            after = new(match)
            if after is None or after == match[0]:
                continue
            start, end = match.span()
            pieces.append((start, end, after))
            seen(
                Change(rule, self.origin[start], self.origin[end], match[0].strip(), after.strip())
            )
        return self.replaced(pieces) if pieces else self

    def stripped(self) -> "Traced":
        """Without blanks at the ends."""
        start = len(self.text) - len(self.text.lstrip())
        return self[start : max(start, len(self.text.rstrip()))]

    def single_spaced(self) -> "Traced":
        """One space in the place of each run of blanks, none at the ends."""
        return self.sub(_BLANKS, lambda _: " ").stripped()

    def split(self, ends: Iterable[int]) -> Iterator["Traced"]:
        """The parts that end at each of these offsets, and the rest."""
        start = 0
        for end in ends:
            yield self[start:end]
            start = end
        yield self[start:]


def joined(parts: Iterable[Traced]) -> Traced:
    """Parts of one source, in order, one after the other; at least one."""
    every = list(parts)
    origin = [offset for part in every for offset in part.origin[:-1]]
    return Traced("".join(part.text for part in every), (*origin, every[-1].origin[-1]))


def part_ends(parts: Iterable[str]) -> list[int]:
    """Where each part but the last ends in all of them together."""
    return list(accumulate(map(len, parts)))[:-1]


_BLANKS = re.compile(r"\s+")

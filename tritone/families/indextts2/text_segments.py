"""Pieces of text into segments, each of which the model speaks in one go."""

from collections.abc import Iterator, Sequence

LONGEST = 120  # pieces

_ENDS = frozenset((".", "!", "?", "\u2581.", "\u2581?", "\u2581..."))
_COMMAS = frozenset((",", "\u2581,"))
_HYPHENS = frozenset("-")
_QUOTES = frozenset(("'", "\u2581'"))
_SHORTEST = 2  # a sentence has more pieces than this


def segments(pieces: Sequence[str], longest: int = LONGEST, opening: int = 0) -> list[list[str]]:
    """The pieces in order, in segments of at most `longest`; a quote after the end of a sentence
    closes that one and opens the next.

    opening: pieces in all up to which segments stay short, so that speech begins early.
    """
    return _split(list(pieces), _ENDS, longest, opening)


def ends_sentence(segment: Sequence[str]) -> bool:
    """Whether its last piece but quotes ends a sentence."""
    last = next((piece for piece in reversed(segment) if piece not in _QUOTES), "")
    return last in _ENDS


def _split(pieces: list[str], ends: frozenset[str], longest: int, opening: int) -> list[list[str]]:
    """Cut after every end, or by finer marks where there are any; then joined."""
    return _joined(list(_units(pieces, ends, longest, opening)), longest, opening)


def _units(
    pieces: list[str], ends: frozenset[str], longest: int, opening: int
) -> Iterator[list[str]]:
    unit: list[str] = []
    for place, piece in enumerate(pieces):
        unit.append(piece)
        finer = _finer(unit, ends)
        if finer:
            yield from _split(unit, finer, longest, opening)
        elif len(unit) > longest:
            yield from (unit[at : at + longest] for at in range(0, len(unit), longest))
        elif piece in ends and len(unit) > _SHORTEST:
            following = pieces[place + 1 : place + 2]
            yield unit + [quote for quote in following if quote in _QUOTES]
        else:
            continue
        unit = []
    if unit:
        yield unit


def _finer(unit: list[str], ends: frozenset[str]) -> frozenset[str]:
    """What a unit is to be cut by instead, if anything."""
    if not ends & _COMMAS and not _COMMAS.isdisjoint(unit):
        return _COMMAS
    if not ends & _HYPHENS and not _HYPHENS.isdisjoint(unit):
        return _HYPHENS
    return frozenset()


def _joined(units: list[list[str]], longest: int, opening: int) -> list[list[str]]:
    joined: list[list[str]] = []
    total = 0
    for unit in filter(None, units):
        total += len(unit)
        together = len(joined[-1]) + len(unit) if joined else longest + 1
        if together <= longest and (total > opening or together <= longest / 2):
            joined[-1] += unit
        else:
            joined.append(list(unit))
    return joined

"""Pieces that no rule may touch: a character of private use stands for each until the end."""

import re
from collections.abc import Mapping, Sequence

from tritone.frontend.text.traced import Traced

FIRST = 0xE000  # private use: removed from what users send
LAST = 0xF8FF


class Placeholders:
    """Of one text; those of tags first, the others as they come."""

    def __init__(self, tags: Sequence[str] = ()) -> None:
        self._kept = list(tags)
        self._tag = tag_pattern(tags)

    def hide_tags(self, text: Traced) -> Traced:
        return text.sub(self._tag, lambda tag: chr(FIRST + self._kept.index(tag[0])))

    def keep(self, piece: str) -> str:
        """The character that stands for a piece."""
        if piece not in self._kept:
            self._kept.append(piece)
        return chr(FIRST + self._kept.index(piece))

    def restored(self, text: Traced) -> Traced:
        return text.sub(ANY, lambda char: self._kept[ord(char[0]) - FIRST])


def tag_pattern(tags: Sequence[str] | Mapping[str, object]) -> re.Pattern[str]:
    """Matches every one of the tags, and nothing where there are none."""
    return re.compile("|".join(map(re.escape, tags)) or r"(?!)")


ANY = re.compile(f"[{chr(FIRST)}-{chr(LAST)}]")

"""What SentencePiece replaces characters by before it looks for pieces.

The table is a double-array trie over UTF-8 (darts-clone's layout) and the replacements that its
leaves point to: the longest sequence that is in it is replaced, what is not in it stays.

    4 bytes: size of the trie | 4 bytes a unit | replacements, each ended by a zero byte
"""

import re
import struct

import numpy as np

_HAS_LEAF, _VALUE, _LABEL = 1 << 8, (1 << 31) - 1, 1 << 31 | 0xFF
_BLANKS = re.compile(" +")


class CharacterMap:
    """Safe to use from several threads."""

    def __init__(self, table: bytes) -> None:
        """table: empty for none. Raises ValueError for a damaged one."""
        size = struct.unpack_from("<I", table)[0] if table else 0
        if size % 4 or 4 + size > len(table) + 4 * (not table):
            raise ValueError(f"a trie of {size} bytes in a table of {len(table)}")
        self._units: list[int] = np.frombuffer(table, "<u4", size // 4, 4 * bool(table)).tolist()
        self._texts = table[4 + size :]

    def __call__(self, text: str) -> str:
        """The text as pieces are looked for in it: single blanks, none at the ends.

        Raises ValueError where the table points beyond its end.
        """
        data = text.encode("utf-8", "replace")
        parts, at = [], 0
        while at < len(data):
            length, found = self._longest(data, at)
            if not length:
                length = _character_size(data[at])
                parts.append(data[at : at + length])
            else:
                parts.append(self._texts[found : self._texts.index(0, found)])
            at += length
        return _BLANKS.sub(" ", b"".join(parts).decode("utf-8", "replace")).strip(" ")

    def _longest(self, data: bytes, at: int) -> tuple[int, int]:
        """Bytes of the longest sequence that begins at a place, and where its replacement is; 0 for
        none."""
        units, length, found = self._units, 0, 0
        if not units:
            return length, found
        try:
            node = _offset(units[0])
            for place in range(at, len(data)):
                node ^= data[place]
                unit = units[node]
                if unit & _LABEL != data[place]:
                    break
                node ^= _offset(unit)
                if unit & _HAS_LEAF:
                    length, found = place + 1 - at, units[node] & _VALUE
        except IndexError as error:
            raise ValueError(f"the trie points to unit {node} of {len(units)}") from error
        return length, found


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def _character_size(first: int) -> int:
    """Bytes of a character of UTF-8 by its first one."""
    return 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4

"""How far a text that is still being written is read already, within its sentences.

A word is read once it is written out and plain, and the next one has begun so: what stands around
numbers, abbreviations, capitals and markup may change how they are read. A sentence is read once
the next one has begun.
"""

import re

from tritone.frontend.text.kinds import is_raw, is_ssml
from tritone.frontend.text.line import Break
from tritone.frontend.text.segment import HAN, WEAK_BREAK
from tritone.frontend.text.sentences import (
    ABBREVIATIONS,
    break_between,
    closed,
    complete,
    sentence_ends,
)

LONG, LONGEST = 240, 640  # of letters; a Chinese character counts as four, as it is a word
_UNIT = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+")
_PLAIN = re.compile(r"[\"“‘'(]*(?P<word>[^\W\d_]+(?:[-'’][^\W\d_]+)*)[,;:]?[\"”’')]*")


def settled(text: str) -> int:
    """Characters, up to the end of a word, that are read alike whatever follows."""
    if is_ssml(text) or is_raw(text):
        return 0
    sentences = len(text[: complete(text)].rstrip())
    units = list(_UNIT.finditer(text))
    plain = [_is_plain(unit[0]) for unit in units]
    if units and units[-1].end() == len(text):  # nobody knows yet what it becomes
        plain[-1] = HAN.match(units[-1][0]) is not None or bool(_PLAIN.fullmatch(units[-1][0]))
    for index in reversed(range(len(units) - 1)):
        end = units[index].end()
        if end <= sentences:
            break
        if plain[index] and plain[index + 1] and closed(text[:end]):
            return end
    return sentences


def part_end(text: str) -> int:
    """Where a text is to be divided, so that no part becomes too long or goes over lines; 0 if
    nowhere yet."""
    start = 0
    for end in sentence_ends(text):
        if not text[start:end].strip():
            continue
        lines = break_between(text[:end], text[end:]) in (Break.ITEM, Break.PARAGRAPH)
        if lines or _letters(text[:end]) >= LONG:
            return end
        start = end
    if is_ssml(text) or is_raw(text) or _letters(text) < LONGEST:
        return 0
    whole = settled(text)
    weak = [m.end() for m in WEAK_BREAK.finditer(text, 0, whole) if m.end() > whole // 2]
    return weak[-1] if weak else whole


def _is_plain(unit: str) -> bool:
    if HAN.match(unit):
        return True
    found = _PLAIN.fullmatch(unit)
    if found is None:
        return False
    word = found["word"]
    capitals = len(word) > 1 and word.isupper()
    return not capitals and word.lower() not in ABBREVIATIONS


def _letters(text: str) -> int:
    return len(text) + 3 * len(HAN.findall(text))

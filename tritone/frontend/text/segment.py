"""Normalised text into segments of speakable length.

The rule is upstream's `split_paragraph`: cut at sentence ends,
then join short pieces. Unlike there, no number such as 2.5 is cut, and odd input raises nothing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]
Length = Callable[[str], int]

SENTENCE_ENDS = {"zh": "。？！；：、.?!；;", "en": ".?!;:"}
COMMAS = "，,"
CLOSING_QUOTES = '"”'
FULL_STOP = {"zh": "。", "en": "."}

BLOCK_CHARACTERS = 400  # about one longest segment of English
# A full stop ends a block only after a number or a long word: "Dr." does not end a sentence.
BLOCK_END = re.compile(r"[。！？]+[”’]?|[!?]+[\"”’)]*\s|(?:(?<=\d)|(?<=\w{4}))\.+[\"”’)]*\s")

HAN = re.compile("[\u4e00-\u9fff]")
WEAK_BREAK = re.compile(r"[，,、;；:：—–](?!\d)\s*")
SPACE = re.compile(r"\s+")
# A tag of a checkpoint, which is one token: [laughter], <strong>, [HH].
TAG = re.compile(r"\[[^\s\[\]]{1,24}\]|</?[^\s<>]{1,24}>")
LONGEST_TAG = 27


@dataclass(frozen=True)
class SegmentRule:
    """Lengths in characters (zh) or tokens (en); the defaults are upstream's.

    longest: a piece is closed rather than grown beyond this, once it is longer than `shortest`.
    tail: a last piece shorter than this joins the one before it.
    hard_limit: no segment is longer, even where the text has no sentence end. Upstream has no such
        limit; twice `longest` leaves nearly all text as upstream cuts it and bounds one LLM call.
    """

    longest: int = 80
    shortest: int = 60
    tail: int = 20
    hard_limit: int = 160
    comma_split: bool = False


def language_of(text: str) -> Language:
    """Upstream's rule: Chinese if there is any Han character, else English."""
    return "zh" if HAN.search(text) else "en"


def has_letters(text: str) -> bool:
    return any(unicodedata.category(char)[0] == "L" for char in text)


def is_speakable(text: str) -> bool:
    """Whether `text` has anything but punctuation, symbols and blanks."""
    return any(unicodedata.category(c)[0] not in "PSZC" for c in text)


def block_ends(text: str, size: int = BLOCK_CHARACTERS) -> Iterator[int]:
    """The first sentence end after every `size` characters; where none comes for twice as many
    more, a blank, or any place.

    Normalisation costs time in proportion to the text; block by block, the first segment of a long
    text does not wait for the last one.
    """
    start = 0
    while len(text) - start > size:
        latest = start + 3 * size
        if end := BLOCK_END.search(text, start + size, latest):
            start = end.end()
        elif latest >= len(text):
            return
        else:
            start = max(text.rfind(" ", start + size, latest) + 1, 0) or latest
        if start < len(text):
            yield start


def ends_sentence(text: str, language: Language) -> bool:
    return text.rstrip().rstrip(CLOSING_QUOTES + ")").endswith(tuple(SENTENCE_ENDS[language]))


def split_sentences(text: str, language: Language, comma_split: bool = False) -> list[str]:
    """Cut after every sentence end; a closing quote stays with its sentence.

    Ends that follow each other directly are dropped after the first, as upstream does.
    """
    ends = SENTENCE_ENDS[language] + (COMMAS if comma_split else "")
    if text and text[-1] not in ends:
        text += FULL_STOP[language]
    pieces: list[str] = []
    start = 0
    for i, char in enumerate(text):
        if char not in ends or _inside_number(text, i):
            continue
        if i > start:
            pieces.append(text[start : i + 1])
        start = i + 1
        if start < len(text) and text[start] in CLOSING_QUOTES:
            if pieces:
                pieces[-1] += text[start]
            start += 1
    return pieces


def split_paragraph(text: str, language: Language, length: Length, rule: SegmentRule) -> list[str]:
    """Sentences joined to pieces of about rule.longest, without rule.hard_limit being applied."""
    pieces: list[str] = []
    current = ""
    for sentence in split_sentences(text, language, rule.comma_split):
        if length(current + sentence) > rule.longest and length(current) > rule.shortest:
            pieces.append(current)
            current = ""
        current += sentence
    if current and pieces and length(current) < rule.tail:
        pieces[-1] += current
    elif current:
        pieces.append(current)
    return pieces


def limit_piece(text: str, length: Length, limit: int) -> list[str]:
    """Cut `text` into parts of at most `limit`: after a comma, else at a space, else anywhere, but
    not through a tag."""
    parts: list[str] = []
    while length(text) > limit:
        fitting = _longest_prefix(text, length, limit)
        cut = _last_match(WEAK_BREAK, text, fitting) or _last_match(SPACE, text, fitting)
        cut = cut or _before_tag(text, fitting)
        parts.append(text[:cut])
        text = text[cut:]
    return [*parts, text] if text else parts


def segment(
    text: str, language: Language, length: Length, rule: SegmentRule | None = None
) -> list[str]:
    """Speakable segments of normalised text, each at most rule.hard_limit long.

    length: tokens of a text; Chinese is measured in characters whatever it says, as upstream does.
    Text without anything speakable gives an empty list.
    """
    rule = rule or SegmentRule()
    measure = len if language == "zh" else length
    pieces = split_paragraph(text.strip(), language, measure, rule)
    parts = [part for piece in pieces for part in limit_piece(piece, measure, rule.hard_limit)]
    return [part for part in parts if is_speakable(part)]


def _inside_number(text: str, i: int) -> bool:
    """Whether text[i] is the point of a number such as 2.5."""
    return text[i] == "." and text[i - 1 : i].isdigit() and text[i + 1 : i + 2].isdigit()


def _longest_prefix(text: str, length: Length, limit: int) -> int:
    """Characters of the longest prefix that fits; at least 1, so that cutting always advances."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if length(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _before_tag(text: str, cut: int) -> int:
    """The place of the cut, or the beginning of the tag that it would go through."""
    for tag in TAG.finditer(text, max(cut - LONGEST_TAG, 0), cut + LONGEST_TAG):
        if tag.start() < cut < tag.end():
            return tag.start() or cut
    return cut


def _last_match(pattern: re.Pattern[str], text: str, fitting: int) -> int:
    """End of the last match in the second half of text[:fitting]; 0 when there is none."""
    ends = [m.end() for m in pattern.finditer(text, 0, fitting) if m.end() >= fitting // 2]
    return ends[-1] if ends else 0

"""Written text to spoken words: numbers, dates, units and symbols, in Chinese and English.

The order of the rules is that of the text front end that the supported checkpoints were released
with (wetext). What differs is on purpose: a point between digits stays a point, no input raises,
and control and private-use characters are dropped.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from wetext import Normalizer

from tritone.frontend.text.segment import Language, language_of

BLOCK_CHARACTERS = 400  # about one longest segment of English; wetext takes some 20 ms for it

FIRST_PLACEHOLDER = 0xE000  # private use: removed from user text, passed through by wetext

NUMERALS = "0-9零一二三四五六七八九十百千万亿幺两"
POINT_IN_NUMERALS = re.compile(rf"(?<=[{NUMERALS}])\.(?=[{NUMERALS}])")
BRACKETS = str.maketrans(dict.fromkeys("（）【】`", ""))
TRAILING_COMMAS = re.compile("[，,、]+$")
NUMBER_OR_REST = re.compile(r"\d+(?:[.,]\d+)*|\D+")

# A full stop ends a block only after a number or a long word: "Dr." does not end a sentence.
BLOCK_END = re.compile(r"[。！？]+[”’]?|[!?]+[\"”’)]*\s|(?:(?<=\d)|(?<=\w{4}))\.+[\"”’)]*\s|\n")


def tag_pattern(tags: Sequence[str]) -> re.Pattern[str]:
    """Matches every one of the tags, and nothing where there are none."""
    return re.compile("|".join(map(re.escape, tags)) or r"(?!)")


def is_raw(text: str) -> bool:
    """Whether upstream leaves this text exactly as it is: it holds something like <|...|>."""
    return "<|" in text and "|>" in text


def clean(text: str) -> str:
    """Drop control, format and private-use characters; every blank is a space or a line end."""
    text = text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    kept = (c if c == "\n" or not c.isspace() else " " for c in text)
    return "".join(c for c in kept if c == "\n" or unicodedata.category(c) not in _DROPPED).strip()


def blocks(text: str, size: int = BLOCK_CHARACTERS) -> Iterator[str]:
    """Cut text at the first sentence end after every `size` characters.

    Normalisation costs time in proportion to the text; block by block, the first segment of a long
    text does not wait for the last one.
    """
    start = 0
    while end := BLOCK_END.search(text, start + size):
        yield text[start : end.end()]
        start = end.end()
    if start < len(text):
        yield text[start:]


class TextNormalizer:
    """Chinese and English rules; the object is stateless and may be shared by threads."""

    def __init__(self, tags: Sequence[str] = ()) -> None:
        """tags: such as [laughter], that a checkpoint knows; they pass as they are."""
        self._tags, self._tag = tags, tag_pattern(tags)
        self._rules = {
            "zh": Normalizer(lang="zh", operator="tn", remove_erhua=False),
            "en": Normalizer(lang="en", operator="tn"),
        }

    def __call__(self, text: str, language: Language | None = None) -> str:
        """The spoken form of `text`; empty when nothing is left.

        language: that of the whole text where this is a part of it; by default found from the text.
        """
        text = clean(text)
        if not text or is_raw(text):
            return text
        text = "".join(_ascii_digit(c) for c in text.replace("\\", " "))
        text = self._tag.sub(self._placeholder, text)
        language = language or language_of(text)
        text = self._chinese(text) if language == "zh" else self._english(text)
        for i, tag in enumerate(self._tags):
            text = text.replace(chr(FIRST_PLACEHOLDER + i), tag)
        return text

    def _placeholder(self, tag: re.Match[str]) -> str:
        return chr(FIRST_PLACEHOLDER + self._tags.index(tag[0]))

    def _chinese(self, text: str) -> str:
        text = self._spoken(text, "zh").replace("\n", "")
        text = _drop_blanks(text).replace("²", "平方").replace("³", "立方")
        text = POINT_IN_NUMERALS.sub("点", text).replace(".", "。")
        text = text.replace(" - ", "，").translate(BRACKETS).replace("——", " ")
        return TRAILING_COMMAS.sub("。", text)

    def _english(self, text: str) -> str:
        return self._spoken(" ".join(text.split()), "en")

    def _spoken(self, text: str, language: Language) -> str:
        """Apply the rules, to ever smaller parts where wetext has no reading for the whole."""
        try:
            # Inside wetext quotes are escaped, and some come out that way.
            return str(self._rules[language].normalize(text)).replace('\\"', '"')
        except AssertionError:  # raised by wetext when no path accepts the text
            words = text.split()
        if len(words) > 1:
            half = len(words) // 2
            parts = [" ".join(words[:half]), " ".join(words[half:])]
        else:
            parts = NUMBER_OR_REST.findall(text)
        if len(parts) < 2:
            return text
        return " ".join(self._spoken(part, language) for part in parts)


_DROPPED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})


def _ascii_digit(char: str) -> str:
    return str(unicodedata.decimal(char, char))


def _drop_blanks(text: str) -> str:
    """Drop each space unless both neighbours are ASCII (between English words)."""
    padded = f" {text} "
    return "".join(
        char
        for before, char, after in zip(padded, text, padded[2:], strict=False)
        if char != " " or (_is_ascii_mark(before) and _is_ascii_mark(after))
    )


def _is_ascii_mark(char: str) -> bool:
    return char.isascii() and char != " "

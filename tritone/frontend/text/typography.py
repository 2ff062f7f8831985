"""One form for what can be written in several: blanks, quotes, dashes, dots, digits, emoji."""

import re
import unicodedata
from itertools import pairwise

from tritone.frontend.text.traced import Traced

DROPPED = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
LINE_ENDS = re.compile("\r\n?|[\u0085\u2028\u2029\v\f]")
EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u20e3\ufe0e\ufe0f\u3030\u303d]+"
)
APOSTROPHES = re.compile("[‘’′`´]")
QUOTES = re.compile('[“”„«»″"]')
DOTS = re.compile(r"\s?(?:\.\s?){2,}|\s?…+")
DASHES = re.compile(r"\s+[-–—―]+\s+|\s?[—―]+\s?|\s?--+\s?")
MARKS = re.compile(r"[!?]{2,}")
TIME_OF_DAY = re.compile(r"(?i)[ap]\.?m\.?$")
COMPATIBLE = re.compile("[^\x00-\x7f°²³µ…]")


def clean(text: Traced) -> Traced:
    """Without control, format and private-use characters; every blank is a space or a line end,
    and letters with marks are one character (NFC), which tags and words are compared with."""
    text = text.sub(LINE_ENDS, lambda _: "\n")
    unwanted = (
        (i, char) for i, char in enumerate(text.text) if not char.isprintable() or char.isspace()
    )
    kept = text.replaced([(i, i + 1, new) for i, char in unwanted if (new := _kept(char)) != char])
    return composed(kept)


def composed(text: Traced) -> Traced:
    """In NFC."""
    if unicodedata.is_normalized("NFC", text.text):
        return text
    starts = [i for i, char in enumerate(text.text) if not _joins(char)]
    parts = ((a, b, text.text[a:b]) for a, b in pairwise([0, *starts, len(text)]))
    whole = ((a, b, part, unicodedata.normalize("NFC", part)) for a, b, part in parts)
    return text.replaced([(a, b, new) for a, b, old, new in whole if new != old])


def _joins(char: str) -> bool:
    """Whether it may compose with what stands before: a mark, or a Hangul vowel or final."""
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"


def _kept(char: str) -> str:
    if char == "\n":
        return char
    return " " if char.isspace() else "" if unicodedata.category(char) in DROPPED else char


def without_emoji(text: Traced) -> Traced:
    return text.sub(EMOJI, lambda _: " ")


def ascii_digits(text: Traced) -> Traced:
    """Digits of other scripts as those of ASCII."""
    return text.sub(_DIGIT, lambda m: str(unicodedata.decimal(m[0], m[0])))


_DIGIT = re.compile(r"[^\D0-9]")


def english(text: Traced) -> Traced:
    """Quotes, apostrophes, dashes, dots, repeated marks and compatible letters in one form."""
    text = text.sub(APOSTROPHES, lambda _: "'").sub(QUOTES, lambda _: '"')
    text = text.sub(COMPATIBLE, _compatible)
    text = text.sub(DOTS, _dots).sub(DASHES, _dash)
    return text.sub(MARKS, lambda m: "?" if "?" in m[0] else "!")


def _compatible(match: re.Match[str]) -> str:
    """NFKC of one character: a ligature, a wide or styled letter, ½ as 1/2."""
    plain = unicodedata.normalize("NFKC", match[0])
    if "\u2044" in plain:
        before = match.string[: match.start()][-1:]
        return (" " if before.isdigit() else "") + plain.replace("\u2044", "/")
    return plain


def _dots(match: re.Match[str]) -> str:
    """A trailing thought: a comma within a sentence, its end before a capital or nothing."""
    after = match.string[match.end() :].lstrip()[:1]
    return ", " if after.islower() else ". " if after.isalnum() else "."


def _dash(match: re.Match[str]) -> str | None:
    """A dash between words is a pause; between numbers it is not one."""
    before, after = match.string[: match.start()], match.string[match.end() :][:1]
    if not before or not after:
        return ""
    numbers = after.isdigit() and (before[-1].isdigit() or TIME_OF_DAY.search(before[-4:]))
    return None if numbers or before[-1] in ",.;:!?" else ", "

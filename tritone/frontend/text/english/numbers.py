"""Small numbers in English words, for what the grammar does not read: digits, ordinals, Romans."""

import re
from itertools import groupby

from tritone.frontend.text.tables import words_of

ONES = words_of("ones")
TENS = words_of("tens")
SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"),
          (100, "hundred"))  # fmt: skip
IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
ROMAN = re.compile(r"(?=[IVXLC])(C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
LETTERS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def cardinal(number: int) -> str:
    """Words of 0 to 10**15 - 1."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return " ".join([TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])])
    size, name = next((s, n) for s, n in SCALES if number >= s)
    rest = [cardinal(number % size)] if number % size else []
    return " ".join([cardinal(number // size), name, *rest])


def ordinal(number: int) -> str:
    """Words of 1st to 999th and beyond."""
    *before, last = cardinal(number).split()
    if last in IRREGULAR:
        last = IRREGULAR[last]
    else:
        last = last.removesuffix("y") + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*before, last])


def digits(text: str) -> str:
    """007 as "zero zero seven"."""
    return " ".join(ONES[int(char)] for char in text)


def number(text: str) -> str:
    """Digits as a number; one with a leading zero, or longer than a year, digit by digit."""
    plain = len(text) < 5 and (text[0] != "0" or text == "0")
    return cardinal(int(text)) if plain else digits(text)


def group(text: str) -> str:
    """A group of digits within a name or a code: up to two, or 100 to 900, as a number."""
    short = len(text) < 3 or (len(text) == 3 and text.endswith("00"))
    return cardinal(int(text)) if short and text[0] != "0" else digits(text)


def roman(text: str) -> int:
    """The value of a Roman numeral below 400, in capitals; 0 for what is none."""
    if not ROMAN.fullmatch(text):
        return 0
    values = [LETTERS[char] for char in text]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def spelled(text: str) -> str:
    """Letters one by one, in capitals, and digits in groups: GPT4 as "G P T four"."""
    parts = ("".join(run) for _, run in groupby(text, str.isdigit))
    return " ".join(group(p) if p.isdigit() else " ".join(p.upper()) for p in parts)

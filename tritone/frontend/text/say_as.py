"""What SSML's <say-as> reads: a piece of text as what the writer says that it is."""

import re
from collections.abc import Callable

from tritone.frontend.text.english.numbers import cardinal, digits, ordinal, spelled

NUMBER = re.compile(r"([-−]?)(\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.(\d+))?")
ISO_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
MARKS = {"-": "dash", ".": "dot", "_": "underscore", "@": "at", "/": "slash", "#": "hash",
         "+": "plus", "*": "star", "&": "and", ":": "colon"}  # fmt: skip


def _cardinal(text: str) -> str | None:
    match = NUMBER.fullmatch(text)
    if not match:
        return None
    sign = "minus " if match[1] else ""
    rest = f" point {digits(match[3])}" if match[3] else ""
    return f"{sign}{cardinal(int(match[2].replace(',', '')))}{rest}"


def _ordinal(text: str) -> str | None:
    match = re.fullmatch(r"(\d{1,15})(?:st|nd|rd|th)?", text)
    return ordinal(int(match[1])) if match else None


def _characters(text: str) -> str | None:
    return " ".join(_character(char) for char in text if not char.isspace()) or None


def _character(char: str) -> str:
    return MARKS.get(char) or (digits(char) if char in "0123456789" else spelled(char))


def _digits(text: str) -> str | None:
    found = [char for char in text if char.isdecimal() and char.isascii()]
    return digits("".join(found)) if found else None


def _telephone(text: str) -> str | None:
    groups = re.findall(r"\d+", text)
    plus = "plus " if text.startswith("+") else ""
    return plus + ", ".join(map(digits, groups)) if groups else None


def _written(text: str) -> str | None:
    """What the reader of the language reads well as it stands."""
    return text if any(char.isdigit() for char in text) else None


def _date(text: str) -> str | None:
    match = ISO_DATE.fullmatch(text)
    return f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}" if match else _written(text)


def _currency(text: str) -> str | None:
    match = re.fullmatch(r"([A-Z]{3})\s*([\d.,]+)", text)
    signs = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
    if match and match[1] in signs:
        return signs[match[1]] + match[2]
    return _written(text)


SAY_AS: dict[str, Callable[[str], str | None]] = {
    "characters": _characters,
    "spell-out": _characters,
    "cardinal": _cardinal,
    "number": _cardinal,
    "ordinal": _ordinal,
    "digits": _digits,
    "date": _date,
    "time": _written,
    "telephone": _telephone,
    "currency": _currency,
}
"""By the value of interpret-as; None for a text that is no such thing."""

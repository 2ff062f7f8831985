"""Numbers with a unit: the grammar's own units, and those that it misses."""

import re

from tritone.frontend.text.english.money import PER
from tritone.frontend.text.english.patterns import ALONE, END, NUMBER, SCALED
from tritone.frontend.text.english.rule import rule
from tritone.frontend.text.tables import choice, table

UNITS = {written: (one, many) for written, one, many in table("units")}

AMOUNT = rf"(?:{NUMBER} )?\d+/\d+|{NUMBER}{SCALED}"
FRACTION = re.compile(r"\d+/\d+")
# "2 in" is a length before these only: "2 in the bag" is not.
LENGTH_FOLLOWS = r"(?=\s*(?:[.,;:!?)]|$)|\s+(?:tall|long|wide|high|deep|thick|by|of)\b)"
CLOSED = {"in": LENGTH_FOLLOWS, "%": "", "¢": "", "°": r"(?!\s?[CFK]\b)"}
UNIT = "|".join(
    re.escape(unit) + CLOSED.get(unit, r"(?![\w²³])")
    for unit in sorted(UNITS, key=len, reverse=True)
)
DECADE = re.compile(r"(?:\b(?:the|early|mid|late)[ -]|'|s-)$")


def _unit(match: re.Match[str]) -> str | None:
    number, (one, many), per = match[1], UNITS[match[2]], match[3]
    decade = len(number) > 2 or DECADE.search(match.string[: match.start()])
    if decade and match[0].endswith("0s"):
        return None  # the 1980s
    if match.string[match.end() : match.end() + 1] == "/":
        return None
    rate = f" per {PER[per]}" if per else ""
    return f"{number} {one if number == '1' or FRACTION.fullmatch(number) else many}{rate}"


RULES = (
    rule("duration", rf"{ALONE}(\d+)\s?h\s?(\d+)\s?m(?:in)?\b", r"\1 hours \2 minutes"),
    rule("height", r"(?<![\w'])(\d)\s?['′]\s?(\d{1,2})\s?[\"″]", r"\1 feet \2 inches"),
    rule("height", r"\b(\d+)\s?ft\.?\s(\d{1,2})\s?in\b\.?", r"\1 feet \2 inches"),
    rule("unit", rf"(?<![\w,])(?<!\d[.:/-])(?<!\d )({AMOUNT})\s?({UNIT})(?:/({choice(PER)})\b)?",
         _unit),
    rule("scale", rf"{ALONE}({NUMBER})(k|M|bn|mn)\b(?!\w)",
         lambda m: f"{m[1]} {dict(k='thousand', M='million', bn='billion', mn='million')[m[2]]}"),
    rule("scale", rf"{ALONE}(\d+\.\d+)B{END}", r"\1 billion"),
    rule("times", rf"{ALONE}({NUMBER})x{END}", r"\1 times"),
)  # fmt: skip

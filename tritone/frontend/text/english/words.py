"""Abbreviations, initials, Roman numerals, and codes of letters and digits."""

import re

from tritone.frontend.text.english.numbers import cardinal, group, ordinal, roman, spelled
from tritone.frontend.text.english.rule import rule
from tritone.frontend.text.tables import choice, table, words_of

_ABBREVIATIONS = table("abbreviations")
ALWAYS, BEFORE_NUMBER, STREETS = (
    {written: spoken for written, spoken, where in _ABBREVIATIONS if where == wanted}
    for wanted in ("always", "number", "street")
)
NUMBERED = words_of("numbered")
REIGNS = words_of("reigns")
REGNAL = words_of("regnal names")
NOT_NUMBERS = {"XI", "XX", "XXX"}  # of two letters or more; a name, sizes
INITIALISMS = {"a.m.": "AM", "p.m.": "PM", "e.g.": "for example", "i.e.": "that is"}


def _always(match: re.Match[str]) -> str:
    return ALWAYS[match[1]]


def _ending(match: re.Match[str]) -> str:
    return ALWAYS[match[1]] + "."


def _initials(match: re.Match[str]) -> str | None:
    """J.K. as "J K"; the last stop stays where a sentence may end with it."""
    after = match.string[match.end() :].lstrip()
    known = INITIALISMS.get(match[0].lower())
    letters = known or " ".join(match[0].replace(".", " ").upper().split())
    return letters + ("." if not after else "")


def _numbered(match: re.Match[str]) -> str | None:
    value = roman(match[2])
    return f"{match[1]} {cardinal(value)}" if value else None


def _reign(match: re.Match[str]) -> str | None:
    value = roman(match[2])
    return f"{match[1]} the {ordinal(value)}" if value else None


def _loose_roman(match: re.Match[str]) -> str | None:
    value = 0 if match[2] in NOT_NUMBERS else roman(match[2])
    return f"{match[1]} {cardinal(value)}" if 1 < value < 40 else None


def _code(match: re.Match[str]) -> str | None:
    """ab9453, GPT-4o, B2B: letters by letter, digits in groups."""
    if len(match[0]) > 12 or match[0].isdigit() or not any(c.isdigit() for c in match[0]):
        return None
    if re.fullmatch(
        r"[1-4]Q\d*|\d+(?:km|kg|g|m|cm|mm|mg|cc|[A-Z]{1,2})|\d+(?:st|nd|rd|th|s|am|pm|AM|PM|[kKMB])|'?\d0s",
        match[0],
    ):
        return None
    letters = re.match(r"[A-Za-z]*", match[0])
    if letters and len(letters[0]) > 3 and not letters[0].isupper():
        return f"{letters[0]} {spelled(match[0][letters.end() :])}"
    return spelled(match[0])


def _tail(match: re.Match[str]) -> str:
    number = " point ".join(map(group, match[2].split(".")))
    return " ".join([match[1], number, match[3].upper()]).strip()


_NAMES = "|".join(REGNAL)

RULES = (
    rule("street", rf"\b([A-Z][a-z]+|\d+(?:st|nd|rd|th)) ({choice(STREETS)})\."
         r"(?=\s+[a-z]|\s*$|\s*,|\s+[NSEW]\b)",
         lambda m: f"{m[1]} {STREETS[m[2]]}" + ("." if m.end() == len(m.string.rstrip()) else "")),
    rule("street", r"\b(\d+ (?:[NSEW]\.? )?[A-Z][a-z]+) St\.", r"\1 street."),
    rule("street", r"(?<=[a-z,] )(?!(?:Lake|Mount|Fort|Port|Point)\b)([A-Z][a-z]+) St\.(?= [A-Z])",
         r"\1 street."),
    rule("saint", r"\bSt\.\s+(?=[A-Z])", "saint "),
    rule("abbreviation", r"\bPh\.\s?D\b\.?", "P H D"),
    rule("abbreviation", rf"\b({choice(ALWAYS)})\.(?=\s*$)", _ending),
    rule("abbreviation", rf"\b({choice(ALWAYS)})\.(?!\w)", _always),
    rule("abbreviation", rf"(?i:\b({choice(BEFORE_NUMBER)}))\.\s?(?=\d)",
         lambda m: BEFORE_NUMBER[m[1].lower()] + " "),
    rule("initials", r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)"
         r"|(?<![\w.])(?:[A-Za-z]\. ){1,3}[A-Za-z]\.(?= [A-Z][a-z])", _initials),
    rule("roman numeral", rf"(?i:\b({choice(NUMBERED)}))\s+([IVX]|[IVXLC]{{2,}})\b", _numbered),
    rule("roman numeral", rf"(?i:\b((?:{choice(REIGNS)})\s+(?-i:[A-Z][a-z]+)))\s+([IVX]+)\b",
         _reign),
    rule("roman numeral", rf"\b({_NAMES})\s+([IVX]{{2,}}|[VX])\b(?!\. ?\w)", _reign),
    rule("roman numeral", r"\b([A-Z][a-z]+)\s+([IVX]{2,})\b", _loose_roman),
    rule("code", r"\b([A-Z]{2,6})-(\d{1,4}(?:\.\d+)?)([a-z]?)\b", _tail),
    rule("code", r"(?<![\w.,'$€£#@/-])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{2,12}"
         r"(?![\w@]|[.,:/-]\d|-[A-Za-z]|\.[a-z])", _code),
    rule("and", r"\b([A-Z]{1,3})&(?=[A-Z]{1,3}\b)", lambda m: f"{spelled(m[1])} and "),
    rule("and", r"(?<=\w)\s?&\s?(?=\w)", " and "),
    rule("slash", r"\b(and|he|she|him|his|her)/(?=(?:or|he|she|him|his|her|hers)\b)", r"\1 "),
    rule("slash", r"\b([A-Za-z]{2,})/(?=[A-Za-z]{2,}\b)", r"\1 slash "),
    rule("with", r"\bw/(?=\s)", "with"),
    rule("without", r"\bw/o\b", "without"),
)  # fmt: skip

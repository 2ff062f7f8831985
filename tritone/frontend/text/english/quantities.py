"""Numbers that are no quantities: dates, versions, telephone numbers, and what has its own name."""

import re

from tritone.frontend.text.english.numbers import cardinal, digits, group
from tritone.frontend.text.english.patterns import ALONE
from tritone.frontend.text.english.rule import rule
from tritone.frontend.text.tables import words_of

MONTHS = words_of("months")
DECADES = words_of("decades")
SECRETS = "pin|code|passcode|password|otp|extension|serial|suite|badge|locker"


def _version(match: re.Match[str]) -> str:
    return f"{match[1] or ''}{' point '.join(map(group, match[2].split('.')))}"


def _spaced_digits(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(digits(run) for run in re.findall(r"\d+", match[0]))


def _date(match: re.Match[str]) -> str | None:
    month, day, year = int(match[2]), int(match[3]), match[1]
    return f"{MONTHS[month - 1]} {day}, {year}" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _lines(match: re.Match[str]) -> str:
    """1080p as "ten eighty P"."""
    lines = match[1]
    return f"{cardinal(int(lines[:-2]))} {cardinal(int(lines[-2:]))} P"


def _retirement(match: re.Match[str]) -> str:
    """401(k) as "four oh one K"."""
    return f"{cardinal(int(match[1][0]))} oh {cardinal(int(match[1][2:]))} {match[2].upper()}"


RULES = (
    rule("date and time", r"\b(\d{4})-(\d\d)-(\d\d)T(?=\d\d:)", r"\1-\2-\3 "),
    rule("date", r"(?<![\w-])(\d{4})/(\d{1,2})/(\d{1,2})(?![\w/])", _date),
    rule("number sign", r"\b[Nn]o\.\s?(?=\d)|№\s?(?=\d)|(?<![\w&])#(?=\d+\b)", "number "),
    rule("number sign", r"\b[Nn]os\.\s?(?=\d)", "numbers "),
    rule("decade", r"\b20([1-9])0s\b", lambda m: f"twenty {DECADES[int(m[1]) - 1]}"),
    rule("hundreds", r"\b100(0|)s(?= of\b)", lambda m: "thousands" if m[1] else "hundreds"),
    rule("around the clock", rf"{ALONE}24/7(?![\d/])", "twenty four seven"),
    rule("halves", rf"{ALONE}50[/-]50(?![\d/-])", "fifty fifty"),
    rule("401(k)", r"\b(401|403|457)\s?\(?([kb])\)?(?!\w)", _retirement),
    rule("picture lines", r"\b(480|720|1080|1440|2160)p\b", _lines),
    rule("secret", rf"(?i:\b((?:{SECRETS}) (?:is |number )?))(\d{{3,}})\b",
         lambda m: m[1] + digits(m[2])),
    rule("telephone", r"(?:\+?\d{1,3}\s?)?\(\d{3}\)[-\s]?\d{3}[-. ]\d{4}(?!\w)", _spaced_digits),
    rule("telephone", r"(?<![\w.])\d{3}\.\d{3}\.\d{4}(?!\w)", _spaced_digits),
    rule("telephone", r"(?<!\w)\+\d{1,3}(?:[ -]\d{2,4}){2,5}(?![\w-])", _spaced_digits),
    rule("version", r"(?<![\w.])(?!\d{1,2}\.\d{1,2}\.\d{4})([vV]ersion |)[vV]?(\d+(?:\.\d+){2,})"
         r"(?![\w.]*\d|\w)", _version),
    rule("version", r"\b[vV](?:er)?\.?\s?(\d+(?:\.\d+)?)\b", r"version \1"),
    rule("telephone", r"(?<![\w-])\d{3}-\d{4}(?![\w-])", _spaced_digits),
)  # fmt: skip

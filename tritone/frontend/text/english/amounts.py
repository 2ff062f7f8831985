"""Plain numbers and sums of money, which are most of what is hard in a text.

The grammar reads them too, in 5 to 20 ms each; what stands in a date, a time, a range or an address
is left to it.
"""

import re

from tritone.frontend.text.english.numbers import cardinal, digits, ordinal
from tritone.frontend.text.english.rule import rule
from tritone.frontend.text.tables import choice, words_of

MONTH = rf"(?:{choice(words_of('months'))}|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
BEFORE_DAY = re.compile(rf"(?i:\b{MONTH}(?: the)? |[/:] ?)$")
AFTER_DAY = re.compile(
    rf"(?i: (?:of )?{MONTH}\b| ?(?:[ap]\.?m\b|o'clock|[/:–] ?\d)| \d| ?\w*[²³])|,? (?:AD|A\.D|BC)\b"
)
END = r"(?=\s|$|[.,;:!?)](?!\d))"  # after a number: nothing that it is a part of
INTEGER = r"(?:0|[1-9]\d{0,2}(?:,\d{3}){1,4}|[1-9]\d{0,2})"
ALONE = r"(?<![\w.,:/$€£¥'’#@^~<>=+*-])"
COINS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
}


def _stands_alone(match: re.Match[str]) -> bool:
    before, after = match.string[: match.start()], match.string[match.end() :]
    return not (BEFORE_DAY.search(before) or AFTER_DAY.match(after) or before.endswith((" -", "^")))


def _value(text: str) -> int:
    return int(text.replace(",", ""))


def _number(match: re.Match[str]) -> str | None:
    if not _stands_alone(match):
        return None
    words = cardinal(_value(match[2]))
    return (
        f"{'minus ' if match[1] else ''}{words}{f' point {digits(match[3])}' if match[3] else ''}"
    )


def _ordinal(match: re.Match[str]) -> str | None:
    words = ordinal(int(match[1]))
    regular = words.endswith({"st": "first", "nd": "second", "rd": "third"}.get(match[2], "th"))
    return words if regular and _stands_alone(match) else None


def _year(match: re.Match[str]) -> str | None:
    """1908 as "nineteen oh eight", 2005 as "two thousand five", 1800 as "eighteen hundred"."""
    if not _stands_alone(match):
        return None
    century, rest = divmod(int(match[0]), 100)
    if century == 20 and rest < 10:
        return cardinal(int(match[0]))
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _money(match: re.Match[str]) -> str:
    one, many, small_one, small_many = COINS[match[1]]
    whole, scale, coins = _value(match[2]), match[4], int(match[3] or 0)
    if scale:
        fraction = f" point {digits(match[3])}" if match[3] else ""
        return f"{cardinal(whole)}{fraction}{scale} {many}"
    parts = [f"{cardinal(whole)} {one if whole == 1 else many}"] if whole or not coins else []
    parts += [f"{cardinal(coins)} {small_one if coins == 1 else small_many}"] if coins else []
    return " ".join(parts)


RULES = (
    rule("money", rf"(?<![\w.,$€£-])([$€£])({INTEGER})(?:\.(\d\d))?()"
         rf"(?! (?:hundred|thousand|million|billion|trillion)\b|\s?-){END}", _money),
    rule("money", rf"(?<![\w.,$€£-])([$€£])({INTEGER})(?:\.(\d+))?( (?:hundred|thousand|million|"
         rf"billion|trillion))(?!\w|\s?-)", _money),
    rule("ordinal", rf"{ALONE}([1-9]\d{{0,2}})(st|nd|rd|th){END}", _ordinal),
    rule("year", rf"{ALONE}(?:1[1-9]|20)\d\d{END}", _year),
    rule("number", rf"{ALONE}(?<!\d )(-?)({INTEGER})(?:\.(\d+))?{END}(?!\.\w)", _number),
)  # fmt: skip

"""Amounts of money that the grammar does not read: further currencies, scales, rates, ranges."""

import re

from tritone.frontend.text.english.patterns import ALONE, NUMBER, SCALED
from tritone.frontend.text.english.rule import rule
from tritone.frontend.text.tables import choice, words_of

SIGN = r"[$€£¥₹₩₽₺₪₫฿]"
NAMES = {"$": "dollars", "€": "euros", "£": "pounds", "¥": "yen"}
RARE = {"₹": "rupees", "₩": "won", "₽": "rubles", "₺": "lira", "₪": "shekels", "₫": "dong",
        "฿": "baht"}  # fmt: skip
CODES = {"USD": "U S dollars", "EUR": "euros", "GBP": "pounds", "JPY": "yen", "CNY": "yuan",
         "CHF": "swiss francs", "CAD": "canadian dollars", "AUD": "australian dollars",
         "INR": "rupees", "RMB": "yuan"}  # fmt: skip
DOLLARS = {"US": "U S", "A": "australian", "AU": "australian", "C": "canadian", "CA": "canadian",
           "HK": "hong kong", "NZ": "new zealand", "S": "singapore"}  # fmt: skip
SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
          "b": "billion", "B": "billion", "bn": "billion", "T": "trillion"}  # fmt: skip
PER = {"mo": "month", "yr": "year", "hr": "hour", "h": "hour", "wk": "week", "d": "day",
       "min": "minute", "s": "second", "sec": "second", "lb": "pound", "kg": "kilogram",
       "GB": "gigabyte", "gal": "gallon", "sq ft": "square foot", "kWh": "kilowatt hour",
       **{name: name for name in words_of("rates")}}  # fmt: skip


def _scaled(match: re.Match[str]) -> str:
    return f"{match[2]} {SCALES[match[3]]} {({**NAMES, **RARE})[match[1]]}"


RULES = (
    rule("range", rf"({SIGN})({NUMBER})\s?[-–]\s?(?={NUMBER}(?!\w|[-.,:/]\d))",
         lambda m: f"{m[2]} to {m[1]}"),
    rule("currency", rf"\b({choice(DOLLARS)})\$({NUMBER}{SCALED})",
         lambda m: f"{m[2]} {DOLLARS[m[1]]} dollars"),
    rule("currency", rf"\b({choice(CODES)})\s?({NUMBER}{SCALED})\b",
         lambda m: f"{m[2]} {CODES[m[1]]}"),
    rule("currency", rf"{ALONE}({NUMBER}{SCALED})\s?({choice(CODES)})\b",
         lambda m: f"{m[1]} {CODES[m[2]]}"),
    rule("range", rf"({SIGN}{NUMBER}(?:{choice(SCALES)})?)\s?[-–]\s?(?={SIGN}\d)", r"\1 to "),
    rule("scale", rf"({SIGN})({NUMBER})\s?({choice(SCALES)})\b", _scaled),
    rule("currency", rf"({choice(RARE)})\s?({NUMBER}{SCALED})", lambda m: f"{m[2]} {RARE[m[1]]}"),
    rule("rate", rf"({SIGN}{NUMBER})\s?/\s?({choice(PER)})\b\.?(?=\W|$)",
         lambda m: f"{m[1]} per {PER[m[2]]}"),
)  # fmt: skip

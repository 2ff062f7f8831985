"""Formulas, comparisons, ratios and ranges."""

import re

from tritone.frontend.text.english.patterns import ALONE, END, NUMBER
from tritone.frontend.text.english.rule import rule

OPERATORS = {"*": "times", "×": "times", "x": "times", "·": "times", "÷": "divided by",
             "/": "divided by", "−": "minus", "-": "minus", "+": "plus", "=": "equals",
             "≠": "does not equal", "≈": "is about", "≤": "is at most", "≥": "is at least",
             "<": "is less than", ">": "is greater than", "±": "plus or minus"}  # fmt: skip
POWERS = {"2": "squared", "3": "cubed", "²": "squared", "³": "cubed"}
AMOUNT_FOLLOWS = r"\s?(?=[$€£-]?\d)"


def _power(match: re.Match[str]) -> str:
    return f"{match[1]} {POWERS.get(match[2], f'to the power of {match[2]}')}"


def _operator(match: re.Match[str]) -> str:
    return f"{match[1]} {OPERATORS[match[2]]} "


FORMULAS = (
    rule("operator", r"(\d\s?)([-/x])(?=\s\d[^.!?]*=)", _operator),
    rule("equals", r"(?<=[\w)])\s?=\s?(?=[\w(-])", " equals "),
)

RULES = (
    rule("size", rf"{ALONE}({NUMBER})\s?[x×]\s?(?=\d)", r"\1 by "),
    rule("ratio", rf"{ALONE}(\d{{1,3}}):(\d){END}", r"\1 to \2"),
    rule("range", r"(?<=\d)\s?[–—]\s?(?=[$€£]?\d)|(?<=[\d ][ap]m)\s?[–—]\s?(?=\d)", "-"),
    rule("range", r"(?<=[ap]\.m\.)\s?[-–—]\s?(?=\d)", " to "),
    rule("range", rf"(?<![\w.,/:$€£-])({NUMBER})-({NUMBER})(?![\w.,/:-]*\d|-|[A-Za-z])",
         r"\1 to \2"),
    rule("range", r"(?<=%)\s?[-–]\s?(?=\d)", " to "),
)  # fmt: skip

COMPARISONS = (
    rule("operator", r"((?:\d|\))\s?)([*×·÷±≠≈≤≥−])(?=\s?[\d(])", _operator),
    rule("operator", r"((?:\d|\)|\b[a-z])\s)([*x<>=+])(?=\s(?:\d|\(|[a-z]\b))", _operator),
    rule("power", r"\b(\w+)\^(\d+)\b", _power),
    rule("power", r"(\b[A-Za-z]|\d)([²³])(?!\w)", _power),
    rule("about", rf"(?<![\w~])[~≈]{AMOUNT_FOLLOWS}", "about "),
    rule("at most", rf"(?<![\w<])(?:<=|≤){AMOUNT_FOLLOWS}", "at most "),
    rule("at least", rf"(?<![\w>-])(?:>=|≥){AMOUNT_FOLLOWS}", "at least "),
    rule("less", rf"(?<![\w<-])<{AMOUNT_FOLLOWS}", "less than "),
    rule("greater", rf"(?<![\w>=-])>{AMOUNT_FOLLOWS}", "greater than "),
    rule("plus or minus", r"±\s?(?=\d)", "plus or minus "),
    rule("minus", r"(?<!\S)[−–](?=\d)", "-"),
    rule("more than", rf"{ALONE}({NUMBER})\+{END}", r"\1 plus"),
)

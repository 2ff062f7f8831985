"""Punctuation as the tokenizer knows it."""

import re

_COMMAS = "：；;，、:"
_FULL_STOPS = "。"
_DASHES = "·—～~"
_QUOTES = '“”"‘’（）()《》【】[]「」'
_ELLIPSIS = ("...", ",,,", "……")

_MARKS = {
    **dict.fromkeys(_COMMAS, ","),
    **dict.fromkeys(_FULL_STOPS, "."),
    "！": "!",
    "？": "?",
    "\n": " ",
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_ELLIPSIS, "…"),
    **dict.fromkeys(_QUOTES, "'"),
}
_IN_CHINESE = {"$": ".", **_MARKS}


def _any_of(marks: dict[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, marks)))


_ANY, _ANY_IN_CHINESE = _any_of(_MARKS), _any_of(_IN_CHINESE)


def plain_marks(text: str) -> str:
    """In one pass: what a mark became is not looked at again."""
    return _ANY.sub(lambda mark: _MARKS[mark[0]], text)


def plain_marks_in_chinese(text: str) -> str:
    """Also without dollar signs, which the rules for Chinese may leave."""
    return _ANY_IN_CHINESE.sub(lambda mark: _IN_CHINESE[mark[0]], text)

"""Pinyin with the number of a tone, which writers use to say how a character is read: 觉jue2."""

import re

_INITIAL = "zh|ch|sh|[bpmfdtnlgkhjqxzcsryw]"
_OPEN = "a|o|e|ai|ei|ao|ou|an|en|ang|eng|ong"
_WITH_I = "i|ia|ie|iu|iao|ian|in|iang|ing|iong"
_WITH_U = "u|ua|uo|ue|ui|uai|uan|un|uang"
_WITH_UMLAUT = "[üv](?:e|an|n)?"  # v is written for ü, and after j, q, x and y u is
_ALONE = "ng|er"

PINYIN = re.compile(
    rf"(?<![a-z])(?:(?:{_INITIAL})?(?:{_OPEN}|{_WITH_I}|{_WITH_U}|{_WITH_UMLAUT})|{_ALONE})[1-5]",
    re.IGNORECASE,
)
_AFTER_PALATAL = re.compile(r"([jqx])[uü](n|e|an)*(\d)", re.IGNORECASE)


def as_piece(pinyin: str) -> str:
    """As the tokenizer has it: ü is V after j, q and x, and what begins with those is in capitals
    (the rest becomes so with all text)."""
    if pinyin[0].lower() not in "jqx":
        return pinyin
    return _AFTER_PALATAL.sub(r"\1v\2\3", pinyin).upper()

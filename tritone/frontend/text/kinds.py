"""What a text is, before anything of it is read."""

import re

_SPEAK = re.compile(r"\s*<speak[\s>/]")


def is_ssml(text: str) -> bool:
    return bool(_SPEAK.match(text))


def is_raw(text: str) -> bool:
    """Whether upstream leaves this text exactly as it is: it holds something like <|...|>."""
    return "<|" in text and "|>" in text

"""A rule of reading: a pattern of written text, and what it is read as."""

import re
from collections.abc import Callable
from typing import NamedTuple


class Rule(NamedTuple):
    """read: what replaces a match; None leaves it as it is."""

    name: str
    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], str | None]


def rule(name: str, pattern: str, read: str | Callable[[re.Match[str]], str | None]) -> Rule:
    r"""read: a function, or a template as of re.sub (\1 is the first group)."""
    if isinstance(read, str):
        template = read
        return Rule(name, re.compile(pattern), lambda match: match.expand(template))
    return Rule(name, re.compile(pattern), read)

"""Addresses: URLs, mail addresses, domains, network addresses, handles, hashtags."""

import re

from tritone.frontend.text.english.numbers import digits
from tritone.frontend.text.english.rule import rule

SYMBOLS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", ":": "colon",
    "?": "question mark", "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus",
    "~": "tilde", ",": "comma", ";": "semicolon", "!": "exclamation mark", "$": "dollar",
}  # fmt: skip
PIECE = re.compile(r"[A-Za-z]+|\d+|\W|_")
CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# A host whose last part is letters; without a scheme a path may follow too.
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}"
PATH = r"(?:[/?#][^\s<>\"]*[^\s<>\".,;:!?)\]}'])"


def address(text: str) -> str:
    """An address as words: its marks by name, the "https" left out."""
    text = re.sub(r"^https?://", "", text).rstrip("/")
    return " ".join(_spoken(piece) for piece in PIECE.findall(text))


def _spoken(piece: str) -> str:
    if piece.isdigit() and piece.isascii():
        return digits(piece)
    return SYMBOLS.get(piece, piece)


def hashtag(match: re.Match[str]) -> str:
    return f"hashtag {' '.join(CAMEL.findall(match[1])) or match[1]}"


def _network_address(match: re.Match[str]) -> str:
    return " dot ".join(map(digits, match[0].split(".")))


RULES = (
    rule("address", r"https?://[^\s<>\"]*[^\s<>\".,;:!?)\]}']", lambda m: address(m[0])),
    rule(
        "address", rf"(?<![\w@.-])(?:www\.{HOST}|{HOST}(?={PATH})){PATH}?", lambda m: address(m[0])
    ),
    rule("mail address", rf"(?<![\w.+-])[\w.+-]+@{HOST}\b{PATH}?", lambda m: address(m[0])),
    rule("network address", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", _network_address),
    rule("handle", r"(?<!\w)@(\w+)", r"at \1"),
    rule("hashtag", r"(?<![\w#&])#([A-Za-z]\w*)", hashtag),
)

# Within Chinese no blank stands around an address.
IN_CHINESE = re.compile(
    rf"https?://[!-~]*[A-Za-z0-9/]|[\w.+-]+@{HOST}|(?<![\w@.-]){HOST}(?:[/?#][!-~]*[A-Za-z0-9/])?",
    re.ASCII,
)

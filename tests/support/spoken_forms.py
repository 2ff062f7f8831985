"""Pairs of written and spoken forms, and the comparison under which they agree."""

import re
from collections.abc import Iterator
from pathlib import Path

PAIRS = Path(__file__).parents[1] / "golden" / "text"


def plain(text: str, language: str = "en") -> str:
    """Without case and punctuation; "and" left out, hyphens as blanks, "o" as "oh"."""
    text = text.lower().replace("’", "'").replace("-", " ")
    if language == "zh":
        return re.sub(r"\W", "", text)
    words = re.sub(r"[^\w' ]|_", " ", text).split()
    stripped = (word.strip("'") for word in words)
    return " ".join("oh" if word == "o" else word for word in stripped if word not in ("", "and"))


def rows(name: str) -> Iterator[list[str]]:
    for line in (PAIRS / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")

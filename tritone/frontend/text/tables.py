"""Tables of what is written and how it is said, read from tables/."""

import csv
import re
from collections.abc import Iterable
from importlib.resources import files


def table(name: str) -> list[list[str]]:
    """The fields of each line of tables/NAME.tsv; lines that begin with # are comments."""
    text = files(__package__).joinpath(f"tables/{name}.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def choice(words: Iterable[str]) -> str:
    """A pattern of any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def words_of(name: str) -> list[str]:
    """The words of a list in tables/lists.tsv."""
    return next(words.split() for key, words in table("lists") if key == name)

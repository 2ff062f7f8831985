"""Words in capitals: spelled, or spoken as the words that they are."""

import gzip
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tritone.frontend.text.tables import words_of
from tritone.frontend.text.traced import Seen, Traced, joined

CAPITALS = re.compile(r"(?<![\w'])[A-Z][A-Z']*[A-Z]('?s)?(?![\w'])")
WORD = re.compile(r"[A-Za-z]{2,}")
SHOUTED = 0.6  # of the words of two letters or more in a sentence
ARTICLE = re.compile(r"(?<= )A(?= )")
SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]+|$)")
SHORT_WORDS = frozenset(words_of("short words"))
INITIALISMS = frozenset({"US", "IT", "WHO", "UN", "AM", "PM", "ID"})  # unless all is shouted
CONSONANTS = re.compile(r"[BCDFGHJKLMNPQRSTVWXZ]{4}")
LONGEST_SPELLED = 4  # letters that no lexicon knows; more are a name, if they can be spoken


@cache
def _lexicon() -> str:
    """Every word of hibari's American lexicon as "\\nword\\n": a megabyte, searched in 0.1 ms."""
    package = find_spec("hibari")
    assert package and package.origin
    path = Path(package.origin).with_name("assets") / "lexicon_us_gold.json.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return "\n".join(["", *json.load(file), ""])


def is_known(word: str) -> bool:
    return f"\n{word}\n" in _lexicon()


def read_capitals(text: Traced, seen: Seen) -> Traced:
    """Spell what is not a word: "the F B I"; leave "NASA"; quieten "LET'S GO" to "let's go"."""
    if not CAPITALS.search(text.text):
        return text
    ends = [match.end() for match in SENTENCE.finditer(text.text) if match[0]]
    return joined([_sentence(part, seen) for part in text.split(ends)])


def _sentence(text: Traced, seen: Seen) -> Traced:
    shouted = _is_shouted(text.text)
    if shouted:
        text = text.sub(ARTICLE, lambda _: "a")
    return text.sub(CAPITALS, lambda match: _read(match, shouted), seen, "capitals")


def _is_shouted(sentence: str) -> bool:
    words = WORD.findall(sentence)
    loud = [word for word in words if word.isupper()]
    return (
        len(loud) >= 2
        and len(loud) >= SHOUTED * len(words)
        and any(len(word) > 2 and is_known(word.lower()) and not is_known(word) for word in loud)
    )


def _read(match: re.Match[str], shouted: bool) -> str:
    ending = match[1] or ""
    word = match[0].removesuffix(ending)
    if _is_word(word, shouted):
        return (word.lower() if shouted or not is_known(word) else word) + ending
    letters = " ".join(word.replace("'", ""))
    return f"{letters}'s" if ending else letters


def _is_word(word: str, shouted: bool) -> bool:
    lower = word.lower()
    if len(word) == 2 or (word in INITIALISMS and not shouted):
        return lower in SHORT_WORDS and (shouted or word not in INITIALISMS)
    if is_known(lower) or is_known(word):
        return True
    return (
        len(word) > LONGEST_SPELLED
        and not CONSONANTS.search(word)
        and bool(re.search("[AEIOUY]", word))
    )

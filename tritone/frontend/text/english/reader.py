"""English text as it is spoken: rules for what is written, then the grammar, then capitals."""

import re
from collections.abc import Iterator, Sequence

from tritone.frontend.text.english import amounts, arithmetic, money, quantities, units, web, words
from tritone.frontend.text.english.capitals import read_capitals
from tritone.frontend.text.english.grammar import EnglishGrammar, Reading
from tritone.frontend.text.english.numbers import number
from tritone.frontend.text.english.units import UNITS
from tritone.frontend.text.english.words import ALWAYS, BEFORE_NUMBER, STREETS
from tritone.frontend.text.tables import words_of
from tritone.frontend.text.traced import Change, Seen, Traced, ignore, joined

RULES = (
    *web.RULES,
    *quantities.RULES,
    *money.RULES,
    *arithmetic.FORMULAS,
    *arithmetic.RULES,
    *units.RULES,
    *arithmetic.COMPARISONS,
    *words.RULES,
    *amounts.RULES,
)

# A plain word needs no reading; the words around one that does are read with it.
PLAIN = re.compile(r"[\"'(\[]*(?:[A-Za-z][a-z]*(?:'[a-z]+)?|[A-Z]+)[\"')\]]*[.,!?;:]*[\"')\]]*")
TOKEN = re.compile(r"\S{1,80}")  # a longer one is read in parts
AROUND = 3  # words on each side of a hard one that the grammar sees
LONGEST = 160  # characters that the grammar reads at once: its time grows with them

SILENT = re.compile(r"[\"*_|\\^~{}<>•·■□▪▶►→←↑↓®™]+")
SYMBOLS = {"©": "copyright", "§": "section", "¶": "paragraph", "∞": "infinity", "π": "pi",
           "µ": "micro", "√": "square root of", "‰": "per mille"}  # fmt: skip
NAMED = re.compile("|".join(SYMBOLS))

AFTER_NUMBER = re.compile(r"(?:\d|hundred|thousand|[mbtr]+illion)\s?$")
GAP = re.compile(r"\s+(?=[,.;:!?](?:\s|$))")
DIGITS = re.compile(r"\d+")  # that no rule has read
PLAIN_WORD = re.compile(
    r"(?<![\w.'@/&\\~^-])(?:[A-Z][a-z]+|[a-z]{2,})(?:'[a-z]+)?(?![\w@/&^-]|\.\w|://)"
)
EXPANDED = frozenset(
    word.lower()
    for word in (
        *(part for unit in UNITS if " " in unit for part in re.findall(r"\w+", unit)),
        *ALWAYS,
        *BEFORE_NUMBER,
        *STREETS,
        *words_of("expanded"),
    )
)


class EnglishReader:
    """Loaded once a process; safe to use from several threads."""

    def __init__(self) -> None:
        self._grammar = EnglishGrammar()

    def __call__(self, text: Traced, seen: Seen = ignore) -> Traced:
        """The spoken form of one line of text, in which every plain word is still there, in order.

        Where one is not the line is read word by word, and a word that has no reading is spoken as
        it is.
        """
        spoken = self._read(text, seen)
        if lost_words(text.text, spoken.text):
            parts = text.split([word.end() for word in TOKEN.finditer(text.text)][:-1])
            spoken = joined([self._word(part, seen) for part in parts])
        return spoken

    def _word(self, text: Traced, seen: Seen) -> Traced:
        blank = Traced(" ", (text.origin[0], text.origin[0]))
        spoken = self._read(text.stripped(), seen)
        lost = lost_words(text.text, spoken.text)
        return joined([blank, text.stripped() if lost else spoken])

    def _read(self, text: Traced, seen: Seen) -> Traced:
        for rule in RULES:
            text = text.sub(rule.pattern, rule.read, seen, rule.name)
        text = text.sub(NAMED, lambda m: f" {SYMBOLS[m[0]]} ", seen, "symbol")
        text = text.sub(SILENT, lambda _: " ").single_spaced()
        text = self._by_grammar(text, seen)
        text = text.sub(DIGITS, lambda m: f" {number(m[0])} ", seen, "digits")
        return read_capitals(text, seen).sub(GAP, lambda _: "").single_spaced()

    def _by_grammar(self, text: Traced, seen: Seen) -> Traced:
        pieces: list[tuple[int, int, str]] = []
        for start, end in hard_parts(text.text):
            for reading in self._readings(text.text[start:end]):
                first, last = start + reading.start, start + reading.end
                before = text.text[first:last]
                if reading.words == before:
                    continue
                pieces.append((first, last, _apart(text.text, pieces, first, reading.words)))
                seen(
                    Change(
                        reading.kind, text.origin[first], text.origin[last], before, reading.words
                    )
                )
        return text.replaced(
            (first, last, words + " " if text.text[last : last + 1].isalnum() and words else words)
            for first, last, words in pieces
        )

    def _readings(self, text: str) -> Iterator[Reading]:
        """Tokens; a word by itself where one of several words has lost a plain one."""
        readings = self._grammar.read(text)
        if readings is None and len(text.split()) > 1:
            readings = [Reading(0, len(text), "", "")]
        for reading in readings or ():
            source = text[reading.start : reading.end]
            if not lost_words(source, reading.words):
                yield reading
            elif len(parts := list(TOKEN.finditer(source))) > 1:
                for part in parts:
                    for inner in self._readings(part[0]):
                        start = reading.start + part.start()
                        yield Reading(
                            start + inner.start, start + inner.end, inner.kind, inner.words
                        )


def hard_parts(text: str) -> Iterator[tuple[int, int]]:
    """Where the grammar has to look: hard words and some around them, at most LONGEST."""
    tokens = list(TOKEN.finditer(text))
    wanted = [False] * len(tokens)
    for i, token in enumerate(tokens):
        if not PLAIN.fullmatch(token[0]) or "." in token[0][:-1]:
            first, last = max(0, i - AROUND), min(len(tokens), i + AROUND + 1)
            wanted[first:last] = [True] * (last - first)
    start = None
    for i, inside in enumerate([*wanted, False]):
        if start is not None and (not inside or tokens[i].end() - tokens[start].start() > LONGEST):
            yield tokens[start].start(), tokens[i - 1].end()
            start = None
        if inside and start is None:
            start = i


def lost_words(source: str, spoken: str) -> list[str]:
    """Plain words of a source that its spoken form does not have, in order.

    A unit after a number, an abbreviation and a word in capitals are read as others and not plain.
    """
    rest = spoken.lower()
    lost = []
    for match in PLAIN_WORD.finditer(source):
        word = match[0]
        if word.lower() in EXPANDED or (
            word in UNITS and AFTER_NUMBER.search(source[: match.start()])
        ):
            continue
        found = re.search(rf"(?<![a-z]){word.lower()}(?![a-z])", rest)
        if found is None:
            lost.append(word)
        else:
            rest = rest[found.end() :]
    return lost


def _apart(text: str, pieces: Sequence[tuple[int, int, str]], start: int, words: str) -> str:
    """Words with a blank before them where they would run into what is before."""
    replaced = pieces and pieces[-1][1] == start
    before = pieces[-1][2][-1:] if replaced else text[max(0, start - 1) : start]
    run_on = words[:1].isalnum() and (before.isalnum() or before == "-")
    return " " + words if run_on else words

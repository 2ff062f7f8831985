"""English written forms to spoken ones by NeMo's grammars, without pynini.

The grammars of nemo_text_processing (Zhang et al. 2021, "NeMo Inverse Text Normalization", and its
normaliser) are two finite-state transducers over bytes. The tagger splits a text into tokens and
says of each what it is, `date { month: "july" day: "four" }`; the verbaliser turns the fields of
one into words. Both are compiled ahead (grammar_data/README.md) and run by kaldifst, and since
the tagger's best path is read arc by arc, every token knows which characters it was read from.
"""

import lzma
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import islice, permutations, product
from typing import Any

import kaldifst

VERBALISED = 2048  # different tokens whose words are kept
ORDERS_TRIED = 200  # orders of a token's fields: seven fields have 5040

TOKEN_END = re.compile(rb"\} +tokens \{$")
OPENING = ord("{")
FIELD = re.compile(r'(\w+): "((?:[^"]|"(?! *(?:\w+:|\w+ \{|\}|$)))*)"|(\w+) \{|\}')
NAME = re.compile(r'^ ?(?:tokens \{ )?name: "(.*?)"(?: \})?$', re.DOTALL)

# What a token holds: fields in the order in which they were tagged, some with fields of their own.
Fields = tuple[tuple[str, "str | Fields"], ...]


@dataclass(frozen=True)
class Reading:
    """text[start:end] of what was read, its class (`word` for what stays as it is), its words."""

    start: int
    end: int
    kind: str
    words: str


class EnglishGrammar:
    """Loaded once a process, 26 MB; safe to use from several threads."""

    def __init__(self) -> None:
        self._tagger, self._verbaliser = _transducer("tagger"), _transducer("verbalizer")
        self._words = lru_cache(VERBALISED)(self._verbalised)

    def read(self, text: str) -> list[Reading] | None:
        """The tokens of a text of one line, in order; None where the grammar has no reading."""
        path = _best_path(text.encode(), self._tagger)
        if path is None:
            return None
        readings, end = [], 0
        for size, tagged in _tokens(path):
            start, end = end, end + size
            name = NAME.match(tagged)
            words = name[1] if name else self._words(tagged)
            if words is None:
                return None
            kind = "word" if name else tagged.partition("{")[0].strip()
            readings.append((start, end, kind, words.replace("\u00a0", " ")))
        return _in_characters(text, readings)

    def _verbalised(self, tagged: str) -> str | None:
        """The words of one tagged token: the first order of its fields that has any."""
        fields = _fields(tagged)
        for order in islice(_orders(fields), ORDERS_TRIED):
            path = _best_path(f"tokens {{ {order} }}".encode(), self._verbaliser)
            if path is not None:
                words = bytes(out for _, out in path if out).decode(errors="replace")
                return " ".join(words.split())
        return None


def _transducer(name: str) -> Any:
    """kaldifst reads files only, and a compressed one is a sixteenth of the size."""
    packed = files(__package__).joinpath(f"grammar_data/{name}.fst.xz").read_bytes()
    with tempfile.NamedTemporaryFile(suffix=".fst") as file:
        file.write(lzma.decompress(packed))
        file.flush()
        transducer = kaldifst.StdVectorFst.read(file.name)
    kaldifst.arcsort(transducer, sort_type="ilabel")
    return transducer


def _best_path(text: bytes, transducer: Any) -> list[tuple[int, int]] | None:
    """(input byte, output byte) along the cheapest path, 0 where an arc has none."""
    composed = kaldifst.compose(
        kaldifst.make_linear_acceptor(list(text)), transducer, connect=False
    )
    best = kaldifst.shortest_path(composed)
    state, path = best.start, []
    if state < 0:
        return None
    while arc := next(iter(kaldifst.ArcIterator(best, state)), None):
        path.append((arc.ilabel, arc.olabel))
        state = arc.nextstate
    return path


def _tokens(path: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """Bytes read, and what was written, of each token."""
    read, written = 0, bytearray()
    for byte, out in path:
        read += bool(byte)
        if out:
            written.append(out)
        if out == OPENING and (end := TOKEN_END.search(written)):
            yield read, _inner(bytes(written[: end.start()]))
            read, written = 0, bytearray()
    yield read, _inner(bytes(written).strip().removesuffix(b"}"))


def _inner(written: bytes) -> str:
    return written.decode(errors="replace").removeprefix("tokens {").strip()


def _in_characters(text: str, readings: Sequence[tuple[int, int, str, str]]) -> list[Reading]:
    """Offsets in bytes to offsets in characters; blanks around a token are not its own."""
    at = [0]
    for char in text:
        at.append(at[-1] + len(char.encode()))
    index = {byte: i for i, byte in enumerate(at)}
    result = []
    for first, last, kind, words in readings:
        start, end = index[first], index[last]
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        result.append(Reading(start, end, kind, words))
    return result


def _fields(tagged: str) -> Fields:
    """`date { month: "july" day: "four" }` as nested pairs."""
    stack: list[list[Any]] = [[]]
    names: list[str] = []
    for match in FIELD.finditer(tagged):
        if match[1]:
            stack[-1].append((match[1], match[2]))
        elif match[3]:
            names.append(match[3])
            stack.append([])
        elif names:
            inner = tuple(stack.pop())
            stack[-1].append((names.pop(), inner))
    return tuple(stack[0])


def _orders(fields: Fields) -> Iterator[str]:
    """The fields written out in every order, that of the tagger first."""
    for order in permutations(fields):
        ways = [
            [f'{name}: "{value}"']
            if isinstance(value, str)
            else [f"{name} {{ {inner} }}" for inner in _orders(value)]
            for name, value in order
        ]
        for chosen in product(*ways):
            yield " ".join(chosen)

"""English words to the phoneme characters that some checkpoints were trained on.

A checkpoint with phoneme tokens keeps phonemes.json in its model directory: phoneme symbol to the
single character that stands for it in tokenizer.json. The symbols are those of misaki, as the
hibari-tts package writes them (stress marks before the vowel).
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from tritone.errors import ModelDirectoryError
from tritone.frontend.text.placeholders import tag_pattern
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.plain_json import parse_json

PHONEMES_NAME = "phonemes.json"

PUNCTUATION = ",.?!"
PAUSES = {";": ",", ":": ",", "—": ",", "–": ",", "…": "."}
BLANK_BEFORE_PUNCTUATION = re.compile(r"\s+(?=[,.?!])")
PUNCTUATION_RUN = re.compile(r"[,.?!]{2,}")
# What the lexicon or SSML gives, and a letter A among others that are spelled, which is no article.
GIVEN = re.compile(r"(\[[^\]]*\]\(/[^)]*/\))")
SPELLED_A = re.compile(r"\bA\b(?= [A-Z]\b)|(?<=\b[A-Z] )A\b")
# IPA as it is mostly written, to misaki's one letter for each diphthong and affricate.
IPA = {"eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "O", "aʊ": "W", "ɔɪ": "Y", "tʃ": "ʧ", "dʒ": "ʤ",
       "ɚ": "əɹ", "ɝ": "ɜɹ", "g": "ɡ", "r": "ɹ", "ː": "", ".": ""}  # fmt: skip
IPA_SIGN = re.compile("|".join(map(re.escape, IPA)))
LEADING_PUNCTUATION = re.compile(r"^[\s,.?!]+")


@dataclass(frozen=True)
class Pronunciation:
    """What the tokenizer is given (empty when nothing can be spoken), and what was skipped."""

    text: str
    notes: tuple[str, ...] = ()


class Pronouncer:
    """Words of phoneme characters, separated by spaces, with the punctuation , . ? !"""

    def __init__(
        self,
        symbols: Mapping[str, str],
        phonemes: Callable[[str], str] | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """symbols: phoneme to character. phonemes: text to phoneme string; by default hibari's.
        tags: as for TextNormalizer; they have no sound here and are skipped with a note."""
        self._symbols, self._tag = symbols, tag_pattern(tags)
        self._phonemes = phonemes or _english_g2p()

    @property
    def alphabet(self) -> str:
        """All phoneme characters."""
        return "".join(self._symbols.values())

    def __call__(self, text: str) -> Pronunciation:
        tags = sorted(set(self._tag.findall(text)))
        foreign: set[str] = set()
        parts = SPELLED_A.sub("[A](/ˈA/)", self._tag.sub(" ", text))
        read = (_given(part) or _readable(part, foreign) for part in GIVEN.split(parts))
        phonemes = self._phonemes("".join(read))
        unknown = sorted({c for c in phonemes if _is_letter(c) and c not in self._symbols})
        return Pronunciation(
            _tidy("".join(self._character(symbol) for symbol in phonemes)),
            _note("tags", tags) + _note("characters", sorted(foreign)) + _note("sounds", unknown),
        )

    def _character(self, symbol: str) -> str:
        if symbol.isspace():
            return " "
        symbol = PAUSES.get(symbol, symbol)
        return symbol if symbol in PUNCTUATION else self._symbols.get(symbol, "")


def load_pronouncer(path: Path, tokenizer: TextTokenizer, tags: Sequence[str] = ()) -> Pronouncer:
    """Read phonemes.json; ModelDirectoryError when it is missing, malformed or does not fit."""
    return Pronouncer(read_symbols(path, tokenizer), tags=tags)


def read_symbols(path: Path, tokenizer: TextTokenizer) -> dict[str, str]:
    """Phoneme symbols to characters; errors as for `load_pronouncer`."""
    symbols = parse_json(path)
    if not symbols:
        raise ModelDirectoryError(f"{path}: expected an object of phoneme symbol to character")
    for symbol, character in symbols.items():
        if not isinstance(character, str) or not tokenizer.knows(character):
            raise ModelDirectoryError(
                f"{path}: {symbol} maps to {character!r}, not in tokenizer.json"
            )
    return symbols


def _tidy(text: str) -> str:
    """One space between words and one mark between phrases, as in the training text."""
    text = BLANK_BEFORE_PUNCTUATION.sub("", " ".join(text.split()))
    text = PUNCTUATION_RUN.sub(lambda run: next(mark for mark in "?!.," if mark in run[0]), text)
    return LEADING_PUNCTUATION.sub("", text)


def _note(kind: str, skipped: list[str]) -> tuple[str, ...]:
    return (f"skipped {kind} that this voice cannot speak: {' '.join(skipped)}",) if skipped else ()


def _given(part: str) -> str:
    """[word](/phonemes/) in misaki's symbols; empty for other text."""
    if not GIVEN.fullmatch(part):
        return ""
    word, _, phonemes = part.partition("](/")
    return f"{word}](/{IPA_SIGN.sub(lambda sign: IPA[sign[0]], phonemes)}"


def _readable(text: str, foreign: set[str]) -> str:
    """NFKC, which makes plain letters and digits of ligatures, wide letters, circled and raised
    digits; without what no English reader reads, which is added to `foreign`."""
    text = unicodedata.normalize("NFKC", text)
    foreign.update(char for char in text if not _is_readable(char))
    return "".join(" " if char in foreign else char for char in text)


def _english_g2p() -> Callable[[str], str]:
    """hibari's reader of words. The package itself would load its synthesiser too, and with it
    SciPy: 13 MB and 0.1 s that nothing here uses."""
    package = find_spec("hibari")
    assert package and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "g2p"
    spec = spec_from_file_location(
        "hibari_g2p", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.G2P()  # type: ignore[no-any-return]


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] == "L"


def _is_readable(char: str) -> bool:
    """Latin letters, ASCII digits, and whatever is neither a letter nor a number."""
    if unicodedata.category(char)[0] in "LN" and not char.isascii():
        return unicodedata.name(char, "").startswith("LATIN ")
    return True

"""Readings that the deployment gives: lexicon.tsv, a word and how it is said on each line.

    word <tab> respelling or /phonemes/ [<tab> case or nocase] [<tab> en or zh]

A line that begins with # is a comment. `case`: only as it is written; by default any. The file is
read again when it has changed.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import ModelDirectoryError
from tritone.frontend.text.placeholders import Placeholders
from tritone.frontend.text.segment import Language
from tritone.frontend.text.traced import Change, Traced

LEXICON_NAME = "lexicon.tsv"
MOST_ENTRIES = 20_000
LONGEST = 200  # characters of a word or a reading


@dataclass(frozen=True)
class Entry:
    word: str
    reading: str
    exact: bool = False
    language: Language | None = None

    @property
    def phonemes(self) -> str:
        """Between slashes; empty for a respelling."""
        return self.reading[1:-1] if self.reading[0] == self.reading[-1] == "/" else ""


class Lexicon:
    """Entries by word; the longest that fits is read."""

    def __init__(self, entries: list[Entry]) -> None:
        self._exact = {entry.word: entry for entry in entries if entry.exact}
        self._folded = {entry.word.lower(): entry for entry in entries if not entry.exact}
        words = sorted((*self._exact, *self._folded), key=len, reverse=True)
        pattern = "|".join(_bounded(word) for word in words) or r"(?!)"
        self._pattern = re.compile(pattern, re.IGNORECASE)

    def __call__(
        self,
        text: Traced,
        language: Language,
        placeholders: Placeholders,
        seen: Callable[[Change], None],
        *,
        phonemes: bool,
    ) -> Traced:
        """phonemes: whether the voice has them; entries of phonemes are left alone otherwise."""

        def read(match: re.Match[str]) -> str | None:
            entry = self._exact.get(match[0]) or self._folded.get(match[0].lower())
            if entry is None or entry.language not in (None, language):
                return None
            if not entry.phonemes:
                return placeholders.keep(entry.reading)
            return placeholders.keep(f"[{match[0]}](/{entry.phonemes}/)") if phonemes else None

        return text.sub(self._pattern, read, seen, "lexicon")


EMPTY = Lexicon([])


class LexiconFile:
    """A file that may change while the server runs, or not exist at all."""

    def __init__(self, path: Path) -> None:
        """Raises ModelDirectoryError for a file that is wrong, with the line."""
        self._path, self._stamp, self.fault = path, self._stamp_now(path), ""
        self._lexicon = read_lexicon(path) if self._stamp else EMPTY

    def current(self) -> Lexicon:
        """The entries as they are now; those from before where the file has become wrong, and then
        `fault` says what is."""
        stamp = self._stamp_now(self._path)
        if stamp != self._stamp:
            self._stamp, self.fault = stamp, ""
            try:
                self._lexicon = read_lexicon(self._path) if stamp else EMPTY
            except ModelDirectoryError as error:
                self.fault = f"{error}; the entries from before are in use"
        return self._lexicon

    @staticmethod
    def _stamp_now(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size


def read_lexicon(path: Path) -> Lexicon:
    """Raises ModelDirectoryError with the number of a line that is wrong."""
    try:
        # NFC, as the texts are
        lines = unicodedata.normalize("NFC", path.read_text(encoding="utf-8")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelDirectoryError(f"{path}: cannot be read: {error}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            try:
                entries.append(_entry(line))
            except ValueError as error:
                raise ModelDirectoryError(f"{path}, line {number}: {error}") from error
    if len(entries) > MOST_ENTRIES:
        raise ModelDirectoryError(f"{path}: {len(entries)} entries; at most {MOST_ENTRIES}")
    return Lexicon(entries)


OPTIONS: Mapping[str, dict[str, object]] = {
    "case": {"exact": True}, "nocase": {"exact": False},
    "en": {"language": "en"}, "zh": {"language": "zh"},
}  # fmt: skip


def _entry(line: str) -> Entry:
    word, *rest = (field.strip() for field in line.split("\t"))
    if not rest or not word or not rest[0]:
        raise ValueError("expected a word, a tab, and how it is said")
    reading, *options = rest
    for text in (word, reading):
        if len(text) > LONGEST:
            raise ValueError(f"{text[:20]!r}... has {len(text)} characters; at most {LONGEST}")
    if reading in ("/", "//"):
        raise ValueError("there are no phonemes between the slashes")
    chosen: dict[str, object] = {}
    for option in filter(None, options):
        if option not in OPTIONS:
            raise ValueError(f"{option!r} is none of {', '.join(OPTIONS)}")
        chosen.update(OPTIONS[option])
    return Entry(word, reading, **chosen)  # type: ignore[arg-type]


def _bounded(word: str) -> str:
    """The word by itself; a Chinese one may stand within others."""
    before = r"(?<!\w)" if word[0].isascii() and word[0].isalnum() else ""
    after = r"(?!\w)" if word[-1].isascii() and word[-1].isalnum() else ""
    return before + re.escape(word) + after

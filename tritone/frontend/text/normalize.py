"""Written text to spoken words, in Chinese and English: line by line, nothing lost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tritone.frontend.text import typography
from tritone.frontend.text.chinese import ChineseReader
from tritone.frontend.text.document import Document, read_document
from tritone.frontend.text.english.reader import EnglishReader
from tritone.frontend.text.lexicon import LexiconFile
from tritone.frontend.text.line import Line
from tritone.frontend.text.segment import Language, has_letters, language_of
from tritone.frontend.text.traced import Change, Seen, Traced, ignore

# Reads one line of a language, and says what it read how.
LineReader = Callable[[Traced, Seen], Traced]


@dataclass(frozen=True)
class Explained:
    """The spoken form of a text, what read what, and what was skipped."""

    text: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


class TextNormalizer:
    """Loaded once a process; safe to use from several threads."""

    def __init__(
        self,
        tags: Sequence[str] = (),
        *,
        lexicon: LexiconFile | None = None,
        phonemes: bool = False,
        readers: Mapping[Language, LineReader] | None = None,
    ) -> None:
        """tags: such as [laughter], that a checkpoint knows; they pass as they are. phonemes:
        whether the voice is given [word](/phonemes/). readers: of a family that was taught with
        other words than ours."""
        self._tags, self._lexicon, self._phonemes = tags, lexicon, phonemes
        self._readers = readers or {"zh": ChineseReader(), "en": _english_reader()}

    def read(self, text: str) -> Document:
        """The lines of a text; InvalidRequest for SSML that is wrong."""
        return read_document(text, self._tags, phonemes=self._phonemes)

    def language(self, document: Document, line: Line) -> Language:
        """Chinese where there is a Han character, English where there are other letters, else what
        the document is."""
        text = line.text.text
        return language_of(text) if has_letters(text) else document.language

    def spoken(
        self, document: Document, line: Line, language: Language, seen: Seen = ignore
    ) -> tuple[Traced, tuple[str, ...]]:
        """The spoken form of a line, and notes on it."""
        notes: tuple[str, ...] = ()
        text = line.text
        if document.raw:
            return text, notes
        if self._lexicon:
            lexicon = self._lexicon.current()
            notes = (self._lexicon.fault,) if self._lexicon.fault else ()
            text = lexicon(text, language, document.placeholders, seen, phonemes=self._phonemes)
        text = self._readers[language](typography.ascii_digits(text), seen)
        return document.placeholders.restored(text), notes

    def __call__(self, text: str, language: Language | None = None) -> str:
        """The spoken form of `text`, line after line; empty when nothing is left.

        language: by default found from the text.
        """
        return self.explain(text, language).text

    def explain(self, text: str, language: Language | None = None) -> Explained:
        document, changes = self.read(text), list[Change]()
        notes = dict.fromkeys(document.notes)
        spoken = []
        for line in document.lines:
            chosen = language or self.language(document, line)
            words, more = self.spoken(document, line, chosen, changes.append)
            notes.update(dict.fromkeys(more))
            spoken.append((words.text, "" if chosen == "zh" else " "))
        joined = "".join(words + blank for words, blank in spoken).strip()
        return Explained(joined, tuple(changes), tuple(notes))


def _english_reader() -> LineReader:
    read = EnglishReader()
    return lambda text, seen: read(typography.english(text), seen)

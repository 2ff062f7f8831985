"""A text in blocks of speakable pieces, as every family's front end needs it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from tritone.errors import InvalidRequest
from tritone.frontend.text.document import Document
from tritone.frontend.text.lexicon import LEXICON_NAME, LexiconFile
from tritone.frontend.text.line import Break, Line
from tritone.frontend.text.normalize import LineReader, TextNormalizer
from tritone.frontend.text.segment import (
    BLOCK_CHARACTERS,
    SENTENCE_ENDS,
    Language,
    Length,
    SegmentRule,
    block_ends,
    ends_sentence,
    is_speakable,
    language_of,
    limit_piece,
    segment,
    split_sentences,
)
from tritone.frontend.text.settings import TextSettings
from tritone.frontend.text.traced import Seen, Traced, ignore

# A spoken line and its language to the parts of it that are spoken in one go.
Cut = Callable[[str, Language], list[str]]

DOCUMENTS_KEPT = 16  # texts whose lines are known: a long one comes again for each of its blocks


@dataclass(frozen=True)
class SpokenPiece:
    """A segment's words. start: where in the text as it was sent it begins. pause, pause_after:
    seconds of silence around it. speed: a factor on that of the request."""

    text: str
    start: int
    pause: float = 0.0
    speed: float = 1.0
    pause_after: float = 0.0


@dataclass(frozen=True)
class SpokenBlock:
    """more: whether text follows."""

    pieces: tuple[SpokenPiece, ...]
    notes: tuple[str, ...]
    more: bool


@dataclass(frozen=True)
class GrowingPiece:
    """One piece of a text that is still being written. settled: the beginning of its text that
    stays as it is."""

    text: str
    settled: str
    notes: tuple[str, ...]
    start: int = 0
    pause: float = 0.0
    speed: float = 1.0
    pause_after: float = 0.0


class TextStage:
    """Loaded once a process; safe to use from several threads."""

    def __init__(
        self,
        model_dir: Path | None,
        tags: Sequence[str],
        length: Length,
        settings: TextSettings,
        *,
        phonemes: bool = False,
        readers: Mapping[Language, LineReader] | None = None,
        cut: Cut | None = None,
    ) -> None:
        """model_dir: where a lexicon may be. length: tokens of a text. cut: into speakable parts,
        of a family with a way of its own. Others: see TextNormalizer.

        Raises ModelDirectoryError for a lexicon that is wrong.
        """
        path = settings.lexicon or (model_dir and model_dir / LEXICON_NAME)
        lexicon = LexiconFile(path) if path else None
        self.normalize = TextNormalizer(tags, lexicon=lexicon, phonemes=phonemes, readers=readers)
        self._length, self._pauses, self._rule = length, settings.pauses, SegmentRule()
        self._cut = cut or partial(segment, length=length, rule=self._rule)
        self._blocks = lru_cache(DOCUMENTS_KEPT)(self._read)

    def block(
        self, text: str, index: int, seen: Seen = ignore, *, continues: Break = Break.NONE
    ) -> SpokenBlock:
        """Block `index` of a text; InvalidRequest for one beyond its end, and for wrong SSML.

        seen: is told which rule read what. continues: the break before the text.
        """
        document, blocks = self._blocks(text)
        if not blocks:
            return SpokenBlock((), document.notes, more=False)
        if not 0 <= index < len(blocks):
            raise InvalidRequest("block", f"is {index}; the text has {len(blocks)}")
        pieces: list[SpokenPiece] = []
        notes = dict.fromkeys(document.notes if index == 0 else ())
        for line in blocks[index]:
            notes.update(dict.fromkeys(self._speak(document, line, pieces, seen)))
        if index == 0 and pieces:
            pause = pieces[0].pause + self._pauses.of(continues)
            pieces[0] = replace(pieces[0], pause=pause)
        return SpokenBlock(tuple(pieces), tuple(notes), index + 1 < len(blocks))

    def growing(self, text: str, settled: int, continues: Break = Break.NONE) -> GrowingPiece:
        """A text so far as one piece, whatever its length. settled: characters of it that are read
        alike whatever follows. Raises InvalidRequest for wrong SSML."""
        document = self.normalize.read(text)
        notes = dict.fromkeys(document.notes)
        every, sure = "", ""
        for line in document.lines:
            language = self.normalize.language(document, line)
            spoken, more = self.normalize.spoken(document, line, language)
            notes.update(dict.fromkeys(more))
            read = _read_until(spoken, settled)
            blank = "" if language == "zh" or not every else " "
            sure += blank + _tidy(spoken.text[:read], language, more=True) if read else ""
            every += blank + _tidy(spoken.text, language)
        if not is_speakable(every):
            return GrowingPiece("", "", tuple(notes))
        first, last = document.lines[0], document.lines[-1]
        return GrowingPiece(
            every,
            every if settled >= len(text) else sure,
            tuple(notes),
            start=first.text.origin[0],
            pause=self._pauses.of(continues) + first.pause,
            speed=first.speed,
            pause_after=last.pause_after,
        )

    def _read(self, text: str) -> tuple[Document, list[list[Line]]]:
        document = self.normalize.read(text)
        blocks: list[list[Line]] = []
        size = BLOCK_CHARACTERS
        for line in document.lines:
            for part in [line] if document.raw else _parts(line):
                if size >= BLOCK_CHARACTERS:
                    blocks.append([])
                    size = 0
                blocks[-1].append(part)
                size += len(part.text)
        return document, blocks

    def _speak(
        self, document: Document, line: Line, pieces: list[SpokenPiece], seen: Seen
    ) -> tuple[str, ...]:
        """Add the pieces of a line; the notes on it."""
        language = self.normalize.language(document, line)
        spoken, notes = self.normalize.spoken(document, line, language, seen)
        if document.raw:
            limit = self._rule.hard_limit
            parts = list(filter(is_speakable, limit_piece(spoken.text, self._length, limit)))
        else:
            parts = self._cut(spoken.text, language)
        pause = self._pauses.of(line.before) + line.pause
        for part, start in zip(parts, _places(spoken, parts), strict=True):
            pieces.append(SpokenPiece(part, start, pause, line.speed))
            pause = self._pauses.sentence if ends_sentence(part, language) else 0.0
        if parts and line.pause_after:
            pieces[-1] = replace(pieces[-1], pause_after=line.pause_after)
        return notes


def _read_until(spoken: Traced, place: int) -> int:
    """Characters that come of the source before a place alone: of what was read as one, with more
    behind it, none."""
    count = bisect_left(spoken.origin, place, hi=len(spoken))
    if count and spoken.origin[count] > place:
        count = bisect_left(spoken.origin, spoken.origin[count - 1])
    return count


def _tidy(text: str, language: Language, *, more: bool = False) -> str:
    """A text with the ends of its sentences as segments have them; with more behind it, no end."""
    text = text.strip()
    if not text:
        return ""
    tidy = "".join(split_sentences(text, language))
    return tidy[:-1] if more and text[-1] not in SENTENCE_ENDS[language] else tidy


def _parts(line: Line) -> Iterator[Line]:
    """A line cut at sentence ends into parts of about a block."""
    parts = [p for p in line.text.split(block_ends(line.text.text)) if p.text.strip()]
    for before, part in zip([None, *parts], parts, strict=False):
        after = line.pause_after if part is parts[-1] else 0.0
        if before is None:
            yield replace(line, text=part, pause_after=after)
        else:
            ended = ends_sentence(before.text, language_of(before.text))
            kind = Break.SENTENCE if ended else Break.NONE
            yield Line(part, kind, speed=line.speed, pause_after=after)


def _places(spoken: Traced, parts: Sequence[str]) -> Iterator[int]:
    """Where in the source each part begins."""
    cursor = 0
    for part in parts:
        head = part.strip()[:12]
        found = spoken.text.find(head, cursor)
        at = found if found >= 0 else cursor
        yield spoken.origin[min(at, len(spoken))]
        cursor = min(at + len(part), len(spoken))

"""A text as a person would read it: its lines, the breaks between them, and what is left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tritone.frontend.text import markup, ssml, typography
from tritone.frontend.text.kinds import is_raw, is_ssml
from tritone.frontend.text.line import Break, Line
from tritone.frontend.text.placeholders import Placeholders
from tritone.frontend.text.segment import Language, is_speakable, language_of
from tritone.frontend.text.traced import Traced

ELEMENT = re.compile(r"</?\w+>")


@dataclass(frozen=True)
class Document:
    """lines: each with something to speak, traced to the text as it was sent. language: of lines
    that have no letters. raw: taken as it is, for it holds a checkpoint's own tokens."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    language: Language
    placeholders: Placeholders
    raw: bool = False


def read_document(text: str, tags: Sequence[str] = (), *, phonemes: bool = False) -> Document:
    """tags: such as [laughter], that a checkpoint knows; they pass as they are. phonemes: whether
    the voice has them.

    Raises InvalidRequest for SSML that is broken or asks for what there is not.
    """
    notes: dict[str, None] = {}
    placeholders = Placeholders(tags)

    def note(what: str) -> None:
        notes[what] = None

    source = typography.clean(Traced.of(text))
    if is_raw(source.text):
        lines = [Line(source.stripped())]
        return Document(tuple(lines), (), language_of(source.text), placeholders, raw=True)
    hidden = placeholders.hide_tags(source)
    if is_ssml(hidden.text):
        lines = ssml.lines(hidden.text, placeholders, note, phonemes=phonemes, tags=tags)
    else:
        lines = markup.lines(hidden.text, note)
    lines = [replace(line, text=line.text.within(hidden)) for line in lines]
    kept = _speakable(lines, placeholders)
    return Document(tuple(kept), tuple(notes), language_of(text), placeholders)


def _speakable(lines: Sequence[Line], placeholders: Placeholders) -> list[Line]:
    """Lines without anything to speak become a break before the next one."""
    kept: list[Line] = []
    before, pause = Break.NONE, 0.0
    for line in lines:
        before = max(before, line.before, key=lambda kind: kind.value)
        pause += line.pause
        text = typography.without_emoji(line.text)
        # a tag such as [laughter] is heard, and one such as <strong> is only how
        if is_speakable(ELEMENT.sub("", placeholders.restored(text).text)):
            first = Break.NONE if not kept else before
            kept.append(replace(line, text=text, before=first, pause=pause))
            before, pause = Break.NONE, 0.0
    return kept

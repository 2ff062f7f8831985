"""Markdown and HTML in a text: what of them is spoken, and where a reader would pause.

Markdown is parsed by markdown-it-py, whose tokens do not know their places: each piece of text is
found again in the source, in order.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from markdown_it import MarkdownIt

from tritone.frontend.text.line import SENTENCE_END, WRAPPED, Break, Line
from tritone.frontend.text.tables import words_of
from tritone.frontend.text.traced import Traced, joined

Note = Callable[[str], None]

TAG = re.compile(r"</?\s*([A-Za-z][A-Za-z0-9]*)")
HIDDEN = frozenset({"script", "style", "template", "svg", "math", "head"})
BLOCKS = frozenset(words_of("html blocks"))
INLINE = frozenset(words_of("html inline"))
OPENED_BY = {
    "heading_open": Break.PARAGRAPH,
    "paragraph_open": Break.PARAGRAPH,
    "hr": Break.PARAGRAPH,
    "list_item_open": Break.ITEM,
    "tr_open": Break.ITEM,
}


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": True})
    parser.enable(["table", "strikethrough"])
    # Indented text is not code here, and a definition would be silent.
    return parser.disable(["code", "reference", "html_block", "text_join"])


_PARSER = _parser()


def lines(text: str, note: Note) -> list[Line]:
    """The lines of a text, what is silent left out. note: is told of what was skipped."""
    return list(_Reader(text, note).read())


class _Reader:
    def __init__(self, text: str, note: Note) -> None:
        self._source, self._note = text, note
        self._cursor = 0
        self._before = Break.NONE
        self._parts: list[Traced] = []
        self._hidden = ""  # the element whose content is skipped

    def read(self) -> Iterator[Line]:
        tight = False
        for token in _PARSER.parse(self._source):
            if token.type == "inline":
                yield from self._inline(token.children or [])
            elif token.type == "fence":
                yield from self._code(token)
            elif token.type in OPENED_BY:
                # a paragraph in a list item begins with the item
                if not (tight and token.type == "paragraph_open"):
                    yield from self._broken(OPENED_BY[token.type])
                tight = token.type == "list_item_open"
                if tight and token.info:
                    self._take(token.info, f"{token.info}, ")
            elif token.type in ("td_close", "th_close"):
                self._mark(", ")
            elif token.type in ("bullet_list_close", "ordered_list_close", "table_close"):
                yield from self._broken(Break.PARAGRAPH)
        yield from self._broken(Break.NONE)

    def _broken(self, before: Break) -> Iterator[Line]:
        """What was gathered as a line; `before` is the break before the next one, or a longer."""
        if any(part.text.strip() for part in self._parts):
            yield Line(joined(self._parts).stripped(), self._before)
            self._before = Break.NONE
        self._parts = []
        self._before = max(self._before, before, key=lambda kind: kind.value)

    def _inline(self, tokens: list[Any]) -> Iterator[Line]:
        for token in tokens:
            if token.type in ("softbreak", "hardbreak"):
                yield from self._line_end(token.type == "hardbreak")
            elif token.type == "html_inline":
                yield from self._tag(token.content)
            elif token.type == "image":
                self._take(token.content, f" {token.content} ")
            elif token.content and not self._hidden:
                written = token.markup if token.type == "text_special" else token.content
                self._take(written, token.content)

    def _line_end(self, hard: bool) -> Iterator[Line]:
        gathered = "".join(part.text for part in self._parts)
        wrapped = not hard and len(gathered) >= WRAPPED and not SENTENCE_END.search(gathered)
        if wrapped or self._source[self._cursor :].lstrip()[:1].islower():
            self._mark(" ")
        else:
            yield from self._broken(Break.ITEM)

    def _tag(self, tag: str) -> Iterator[Line]:
        match = TAG.match(tag)
        name = match[1].lower() if match else ""
        self._cursor = max(self._cursor, self._source.find(tag, self._cursor) + len(tag))
        if self._hidden:
            self._hidden = "" if name == self._hidden and tag.startswith("</") else self._hidden
        elif name in HIDDEN:
            self._hidden = "" if tag.startswith("</") or tag.endswith("/>") else name
            if self._hidden:
                self._note(f"skipped what is in <{name}>")
        elif name in BLOCKS:
            small = name in ("br", "li", "td", "th", "tr", "dt", "dd")
            yield from self._broken(Break.ITEM if small else Break.PARAGRAPH)
        elif tag.startswith("<!--"):
            self._note("skipped an HTML comment")
        elif name and name not in INLINE:
            self._cursor -= len(tag)
            self._take(tag, tag.strip("</>"))

    def _take(self, written: str, spoken: str) -> None:
        """Gather what stands at the next place of `written` in the source."""
        at = self._source.find(written, self._cursor)
        if at < 0:
            at, written = self._cursor, ""
        if written == spoken:
            part = Traced.of(spoken, at)
        else:
            part = Traced(spoken, (*[at] * len(spoken), at + len(written)))
        self._cursor = at + len(written)
        self._parts.append(part)

    def _mark(self, text: str) -> None:
        self._parts.append(Traced(text, (self._cursor,) * (len(text) + 1)))

    def _code(self, token: Any) -> Iterator[Line]:
        """Skip a code block; one that is never closed is text."""
        code, start = token.content, self._source.find(token.content, self._cursor)
        closing = self._source[start + len(code) :].lstrip(" >\t")
        if closing.startswith(token.markup):
            count = len(code.splitlines())
            self._note(f"skipped a code block of {count} line{'' if count == 1 else 's'}")
            self._cursor = max(self._cursor, start + len(code) + len(token.markup))
            yield from self._broken(Break.PARAGRAPH)
        else:
            for line in [token.info.strip(), *code.splitlines()]:
                yield from self._broken(Break.ITEM)
                self._take(line, line)

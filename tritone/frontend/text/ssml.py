"""A subset of SSML 1.1 (W3C, 2010): a text inside <speak> to lines, with what it asks for.

What is not in the subset is refused by name, with its place, before anything is spoken.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any
from xml.sax import SAXParseException
from xml.sax.handler import ContentHandler

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from tritone.errors import InvalidRequest
from tritone.frontend.text.line import Break, Line
from tritone.frontend.text.placeholders import Placeholders
from tritone.frontend.text.say_as import SAY_AS
from tritone.frontend.text.traced import Traced, joined

FIELD = "target_text"
DEEPEST = 16
LONGEST_BREAK_S = 10.0
TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
PERCENT = re.compile(r"(\d{1,3})%")
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
RATES = {"x-slow": 0.6, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
SLOWEST, FASTEST = 0.5, 2.0
EMPHASIS = ("<strong>", "</strong>")  # where a checkpoint has these tags
ATTRIBUTES = {
    "speak": {"version", "xml:lang", "xmlns"}, "p": {"xml:lang"}, "s": {"xml:lang"},
    "break": {"time", "strength"}, "sub": {"alias"}, "say-as": {"interpret-as", "format", "detail"},
    "prosody": {"rate"}, "phoneme": {"alphabet", "ph"}, "emphasis": {"level"},
}  # fmt: skip

NEEDED = {"sub": "alias", "say-as": "interpret-as", "phoneme": "ph"}


def lines(
    text: str,
    placeholders: Placeholders,
    note: Callable[[str], None],
    *,
    phonemes: bool = False,
    tags: Sequence[str] = (),
) -> list[Line]:
    """The lines of an SSML text; offsets are those of the text as it was sent.

    phonemes: whether the voice has them. tags: those of its checkpoint. Raises InvalidRequest for
    what is broken or not in the subset.
    """
    handler = _Handler(text, placeholders, note, phonemes, tags)
    parser: Any = DefusedExpatParser(forbid_dtd=True)
    parser.setContentHandler(handler)
    try:
        parser.parse(BytesIO(text.encode("utf-8")))
    except SAXParseException as error:
        where = f"line {error.getLineNumber()}, column {(error.getColumnNumber() or 0) + 1}"
        raise InvalidRequest(FIELD, f"SSML is broken at {where}: {error.getMessage()}") from error
    except DefusedXmlException as error:
        raise InvalidRequest(FIELD, "SSML: a document type or entities are not allowed") from error
    return handler.result


@dataclass
class _Element:
    """An open element. spoken: what is read in the place of its content."""

    name: str
    attributes: dict[str, str]
    parts: list[Traced] | None = None  # gathered apart, where the content is replaced
    speed: float = 1.0
    start: int = 0


@dataclass
class _State:
    parts: list[Traced] = field(default_factory=list)
    before: Break = Break.NONE
    pause: float = 0.0


class _Handler(ContentHandler):
    def __init__(
        self, text: str, placeholders: Placeholders, note: Callable[[str], None],
        phonemes: bool, tags: Sequence[str],
    ) -> None:  # fmt: skip
        super().__init__()
        self.result: list[Line] = []
        self._text, self._placeholders, self._note = text, placeholders, note
        self._phonemes, self._tags = phonemes, tags
        self._starts = [0]
        self._starts += [match.end() for match in re.finditer("\n", text)]
        self._open: list[_Element] = []
        self._state = _State()

    # --- what the parser calls ---

    def startElement(self, name: str, attrs: Any) -> None:
        attributes = dict(attrs.items())
        self._check(name, attributes)
        element = _Element(name, attributes, speed=self._speed, start=self._offset())
        if name in ("p", "s"):
            self._end_line(Break.PARAGRAPH if name == "p" else Break.SENTENCE)
        elif name == "break":
            self._end_line(Break.NONE)
            self._state.pause += self._break(attributes)
        elif name == "prosody":
            self._end_line(Break.NONE)
            element.speed *= self._rate(attributes.get("rate", "medium"))
        elif name == "emphasis":
            self._emphasise(0, attributes)
        elif name in ("sub", "say-as", "phoneme"):
            element.parts = []
        self._open.append(element)

    def endElement(self, name: str) -> None:
        element = self._open.pop()
        if name in ("p", "s"):
            self._end_line(Break.PARAGRAPH if name == "p" else Break.SENTENCE)
        elif name == "prosody":
            self._end_line(Break.NONE, element.speed)
        elif name == "emphasis":
            self._emphasise(1, element.attributes)
        elif name == "speak":
            self._end_line(Break.NONE)
            if self.result:
                self.result[-1] = replace(self.result[-1], pause_after=self._state.pause)
        elif element.parts is not None:
            content = "".join(part.text for part in element.parts)
            spoken = self._replaced(element, content)
            self._gather(Traced(spoken, (*[element.start] * len(spoken), self._offset())))

    def characters(self, content: str) -> None:
        at = self._offset()
        if self._text[at : at + len(content)] == content:
            self._gather(Traced.of(content, at))
        else:  # an entity
            self._gather(Traced(content, (at,) * (len(content) + 1)))

    # --- the parts of it ---

    @property
    def _speed(self) -> float:
        return self._open[-1].speed if self._open else 1.0

    def _offset(self) -> int:
        """Where in the text the event is."""
        locator: Any = self._locator  # type: ignore[attr-defined]
        line = min(int(locator.getLineNumber()) - 1, len(self._starts) - 1)
        return min(self._starts[line] + max(0, int(locator.getColumnNumber())), len(self._text))

    def _gather(self, part: Traced) -> None:
        inner = self._open[-1].parts if self._open else None
        (self._state.parts if inner is None else inner).append(part)

    def _end_line(self, following: Break, speed: float | None = None) -> None:
        """End the line before this place; `following` is at least the break after it."""
        state = self._state
        if state.parts and (line := joined(state.parts).stripped()).text:
            self.result.append(Line(line, state.before, state.pause, speed or self._speed))
            state.before, state.pause = Break.NONE, 0.0
        state.parts = []
        state.before = max(state.before, following, key=lambda kind: kind.value)

    def _emphasise(self, side: int, attributes: dict[str, str]) -> None:
        if attributes.get("level") in ("none", "reduced"):
            return
        if EMPHASIS[0] not in self._tags:
            self._note("emphasis is not spoken: this voice has no tag for it")
        else:
            at = self._offset()
            self._gather(Traced(self._placeholders.keep(EMPHASIS[side]), (at, at)))

    def _replaced(self, element: _Element, content: str) -> str:
        if element.name == "sub":
            return element.attributes["alias"]
        if element.name == "phoneme":
            if not self._phonemes:
                raise self._refused("<phoneme>", "this voice has no phoneme tokens")
            return self._placeholders.keep(f"[{content}](/{element.attributes['ph']}/)")
        kind = element.attributes["interpret-as"]
        spoken = SAY_AS[kind](content.strip())
        if spoken is None:
            raise self._refused(
                f'<say-as interpret-as="{kind}">', f"cannot read {content.strip()!r}"
            )
        return spoken

    def _break(self, attributes: dict[str, str]) -> float:
        time, strength = attributes.get("time"), attributes.get("strength", "medium")
        if time is None:
            if strength not in STRENGTHS:
                raise self._refused(
                    "<break>", f"strength {strength!r} is none of {', '.join(STRENGTHS)}"
                )
            return STRENGTHS[strength]
        match = TIME.fullmatch(time.strip())
        if match is None:
            raise self._refused("<break>", f"time {time!r} is not like 500ms or 1.5s")
        seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
        if seconds > LONGEST_BREAK_S:
            raise self._refused("<break>", f"time {time} is longer than {LONGEST_BREAK_S:g}s")
        return seconds

    def _rate(self, rate: str) -> float:
        percent = PERCENT.fullmatch(rate)
        factor = RATES.get(rate, int(percent[1]) / 100 if percent else 0.0)
        if not SLOWEST <= factor <= FASTEST:
            raise self._refused(
                "<prosody>", f"rate {rate!r} is none of {', '.join(RATES)} or 50% to 200%"
            )
        return factor

    def _check(self, name: str, attributes: dict[str, str]) -> None:
        if name not in ATTRIBUTES or (name == "speak") != (not self._open):
            raise self._refused(f"<{name}>", f"is not supported here; {', '.join(ATTRIBUTES)} are")
        if len(self._open) >= DEEPEST:
            raise self._refused(f"<{name}>", f"is nested deeper than {DEEPEST} elements")
        known = ATTRIBUTES[name]
        for attribute in attributes:
            if attribute not in known and not attribute.startswith(("xmlns:", "xsi:")):
                raise self._refused(f"<{name}>", f"has no attribute {attribute!r} here")
        for needed in {"sub": ["alias"], "say-as": ["interpret-as"], "phoneme": ["ph"]}.get(
            name, []
        ):
            if not attributes.get(needed, "").strip():
                raise self._refused(f"<{name}>", f"needs the attribute {needed}")
        if name == "say-as" and attributes["interpret-as"] not in SAY_AS:
            raise self._refused(
                "<say-as>",
                f"interpret-as {attributes['interpret-as']!r} is none of {', '.join(SAY_AS)}",
            )
        if name == "phoneme" and attributes.get("alphabet", "ipa") != "ipa":
            raise self._refused("<phoneme>", "alphabet is ipa here")

    def _refused(self, what: str, why: str) -> InvalidRequest:
        locator: Any = self._locator  # type: ignore[attr-defined]
        where = f"line {locator.getLineNumber()}, column {locator.getColumnNumber() + 1}"
        return InvalidRequest(FIELD, f"SSML, {where}: {what} {why}")

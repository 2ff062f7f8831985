"""Texts that are spoken while they are written: the requests of one, of which some are missing,
doubled, out of order, or say what they must not."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzzing.requests import WORDS, Model, requests
from fuzzing.wire import Request, Tensor, text

STREAM, START, MODE, FLUSH_AFTER = "text_stream", "text_start", "text_mode", "text_flush_after_ms"
ORDERS = ("text_flush", "text_end", "text_cancel")
FIELDS = frozenset((STREAM, MODE, FLUSH_AFTER))
"""What a refusal may name beside an input."""

_STRANGE = (
    *("", "short", "a" * 101, "é" * 16, "\0" * 20, "interleaved", "1", "true"),
    *(0, 1, -1, 2**63 - 1, -(2**63), 60_000, 60_001, True, False),
    *(0.5, -0.0, 1e300, float("inf"), float("nan")),
)
_MODES = ("sentences", "interleaved", "auto", "INTERLEAVED")
_SOME = st.sampled_from(
    (
        b"Hi. ",
        b"Hi there. ",
        b"Why? ",
        b"Hel",
        b"lo",
        b" ",
        b"",
        b"there",
        b"?",
        b"<speak>",
        b"\n\n",
    )
)

Conversation = tuple[Request, ...]


def _piece(model: Model, words: bytes, **parameters: Any) -> Request:
    said = Tensor("target_text", "BYTES", (1, 1), text(words))
    return Request(model.name, (said,), "", parameters, model.outputs)


@st.composite
def _start(draw: st.DrawFn, model: Model, name: str) -> Request:
    parameters: dict[str, Any] = {START: True, STREAM: name}
    if draw(st.booleans()):
        parameters[MODE] = draw(st.sampled_from(_MODES))
    if draw(st.booleans()):
        parameters[FLUSH_AFTER] = draw(st.sampled_from((1, 20, 1000)))
    if draw(st.integers(0, 3)):
        return _piece(model, draw(_SOME), **parameters)
    return replace(draw(requests(model)), parameters=parameters)


@st.composite
def _more(draw: st.DrawFn, model: Model, name: str) -> Request:
    words = draw(st.one_of(_SOME, _SOME, _SOME, WORDS))
    order = draw(st.sampled_from((*(None,) * 20, *ORDERS)))
    return _piece(model, words, **{STREAM: name, **({order: True} if order else {})})


@st.composite
def _changed(draw: st.DrawFn, request: Request) -> Request:
    """With a parameter that it should not have, or that should be otherwise."""
    known = (STREAM, START, MODE, FLUSH_AFTER, *ORDERS)
    changes = {draw(st.sampled_from(known)): draw(st.sampled_from(_STRANGE))}
    return replace(request, parameters={**request.parameters, **changes})


@st.composite
def _wrong(draw: st.DrawFn, every: list[Request]) -> list[Request]:
    """With something wrong with one of them."""
    at = draw(st.integers(0, len(every) - 1))
    kind = draw(st.sampled_from(("change", "change", "drop", "double", "late")))
    if kind == "change":
        return [*every[:at], draw(_changed(every[at])), *every[at + 1 :]]
    if kind == "double":
        return [*every[:at], every[at], *every[at:]]
    rest = [*every[:at], *every[at + 1 :]]
    return [*rest, every[at]] if kind == "late" or not rest else rest


@st.composite
def _conversation(draw: st.DrawFn, model: Model) -> Conversation:
    name = draw(st.uuids()).hex
    every = [draw(_start(model, name)), *draw(st.lists(_more(model, name), max_size=6))]
    for _ in range(draw(st.sampled_from((0, 1, 1, 2)))):
        every = draw(_wrong(every))
    # A text without an end is waited for, half a minute each.
    begun = [r.parameters.get(STREAM) for r in every if r.parameters.get(START)]
    ends = [
        _piece(model, b"", **{STREAM: n, "text_end": True}) for n in dict.fromkeys((name, *begun))
    ]
    return (*every, *ends)


def conversations(model: Model) -> SearchStrategy[Conversation]:
    """To a model that takes texts in pieces, all over one stream; each text has an end."""
    return _conversation(model)

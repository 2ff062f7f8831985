"""Requests to each model: good ones, of which some inputs are changed, missing or there twice."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzzing.damage import damaged_safetensors
from fuzzing.texts import texts
from fuzzing.wire import Request, Tensor, text

NUMBERS = {"BOOL": "?", "UINT8": "u1", "INT32": "<i4", "FP32": "<f4", "UINT64": "<u8"}
TYPES = (*NUMBERS, "INT64", "FP64", "FP16", "BYTES", "BF16", "", "STRING", "nonsense")
SEQUENCES = 8  # ids of sequences: more than a handful open at a time only wait for each other


@dataclass(frozen=True)
class Model:
    """good: inputs as they should be. required: those that are mostly there. arrays: inputs that
    hold named arrays. streams: whether it answers often."""

    name: str
    good: Mapping[str, Tensor]
    required: tuple[str, ...]
    arrays: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    streams: bool = False
    sequences: bool = False


WORDS = st.one_of(
    texts().map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"heart", b"../joe", b"a" * 300_000]
    ),
)
_STRANGE = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-45, 1e38, float("nan"), float("inf"), float("-inf")]
_WHOLE = [0, 1, 2, 7, -1, -(2**31), 2**31 - 1, 6560, 6561, 10_000, 2**63, 2**64 - 1]


def _numbers(datatype: str, count: int) -> SearchStrategy[bytes]:
    kind = np.dtype(NUMBERS[datatype])

    def of(values: Sequence[float]) -> bytes:
        with np.errstate(all="ignore"):
            if kind.kind == "f":
                return np.resize(np.array(values, kind), count).tobytes()
            bits = 8 * kind.itemsize
            whole = [int(v) % (1 << bits) for v in values]
            return np.resize(np.array(whole, f"<u{kind.itemsize}"), count).tobytes()

    floats = st.sampled_from(_STRANGE) | st.floats(width=32)
    whole = st.sampled_from(_WHOLE) | st.integers(-(2**40), 2**40)
    each = floats if kind.kind == "f" else whole
    return st.lists(each, min_size=1, max_size=4).map(of)


@st.composite
def _value(draw: st.DrawFn, good: Tensor, arrays: bool) -> Tensor:
    """Of the right type and a possible shape."""
    if good.datatype == "BYTES":
        return replace(good, contents=text(draw(WORDS)))
    if arrays:
        damaged = draw(damaged_safetensors(good.contents)).content
        return replace(good, shape=(*good.shape[:-1], len(damaged)), contents=damaged)
    shape = good.shape
    if draw(st.booleans()):
        last = draw(st.sampled_from((0, 1, 2, 3, 49, 1000, 20_000)))
        shape = (*shape[:-1], last)
    count = int(np.prod(shape, dtype=np.int64))
    return replace(good, shape=shape, contents=draw(_numbers(good.datatype, count)))


@st.composite
def _form(draw: st.DrawFn, good: Tensor) -> Tensor:
    """Of another type, shape or length than it says.

    Not of 2**61 values in a batch of none: there Triton 2.51 itself ends the model's process.
    """
    kind = draw(st.sampled_from(("type", "shape", "huge", "contents", "name")))
    if kind == "type":
        return replace(good, datatype=draw(st.sampled_from(TYPES)))
    if kind == "shape":
        sizes = st.integers(-1, 4) | st.sampled_from((2**31, 2**40, -(2**40)))
        return replace(good, shape=tuple(draw(st.lists(sizes, max_size=5))))
    if kind == "huge":
        return replace(
            good,
            shape=draw(st.sampled_from(((2**62,), (2**32, 2**32), (1, 2**40), (0,), (0, 2**40)))),
        )
    if kind == "name":
        return replace(good, name=draw(st.text(max_size=20) | st.just("a" * 10_000)))
    cut = draw(st.integers(0, len(good.contents)))
    wrong = struct.pack("<I", draw(st.sampled_from((0, 1, 2**31, 2**32 - 1))))
    return replace(
        good, contents=draw(st.sampled_from((good.contents[:cut], good.contents * 2, wrong)))
    )


_IDS = st.one_of(
    st.just(""), st.just("1"), st.text(max_size=12), st.just("ü" * 900), st.just("i" * 10_000)
)
_VALUES = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("ab\0é", max_size=9) | st.floats()
)
_PARAMETERS = st.dictionaries(
    st.sampled_from(
        (
            "priority",
            "timeout",
            "seed",
            "speed",
            "a",
            "sequence_id",
            "sequence_start",
            "sequence_end",
        )
    ),
    _VALUES,
    max_size=2,
)


@st.composite
def _flags(draw: st.DrawFn) -> dict[str, Any]:
    """Of a sequence; mostly some that may be."""
    return {
        "sequence_id": draw(st.integers(1, SEQUENCES)),
        "sequence_start": draw(st.booleans()),
        "sequence_end": draw(st.booleans()),
    }


@st.composite
def requests(draw: st.DrawFn, model: Model) -> Request:
    """A request of one model, in which up to three things are wrong."""
    names = [
        name
        for name in model.good
        if (draw(st.integers(0, 19)) if name in model.required else draw(st.integers(0, 3)) == 0)
    ]
    inputs = [model.good[name] for name in names]
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 3))) if inputs else 0):
        at = draw(st.integers(0, len(inputs) - 1))
        kind = draw(st.sampled_from(("value",) * 6 + ("form",) * 2 + ("double",)))
        if kind == "double":
            inputs.append(inputs[at])
        elif kind == "form":
            inputs[at] = draw(_form(inputs[at]))
        elif inputs[at].name in model.good:
            good = model.good[inputs[at].name]
            inputs[at] = draw(_value(good, good.name in model.arrays))
    parameters = draw(_flags()) if model.sequences else {}
    if draw(st.integers(0, 5)) == 0:
        parameters |= draw(_PARAMETERS)
        parameters.pop("sequence_id" if model.streams else "", None)
    outputs = model.outputs
    if draw(st.integers(0, 9)) == 0:
        outputs = (*outputs, draw(st.sampled_from(("timing", "waveform", "", "nothing", "é"))))
    return Request(model.name, tuple(inputs), draw(_IDS), parameters, outputs)

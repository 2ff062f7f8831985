"""Files as nobody wants them: cut, flipped, empty, of absurd numbers, deep, or no files at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

DEPTH = 100_000
_DEEP = "a place for what is nested"
_MARK = json.dumps(_DEEP)
_NESTED = ("[" * DEPTH, "[" * DEPTH + "]" * DEPTH, '{"a":' * DEPTH + "1" + "}" * DEPTH)

Form = Literal["file", "directory", "missing", "loop", "dangling"]


@dataclass(frozen=True)
class Damaged:
    """What stands in the place of a file."""

    content: bytes = b""
    form: Form = "file"

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.form == "file":
            path.write_bytes(self.content)
        elif self.form == "directory":
            path.mkdir()
        elif self.form == "loop":
            path.symlink_to(path)
        elif self.form == "dangling":
            path.symlink_to(path.with_name("nothing"))

    def __repr__(self) -> str:
        return f"{self.form} of {len(self.content)} bytes {self.content[:400]!r}"


NO_FILE: SearchStrategy[Damaged] = st.sampled_from(
    [Damaged(form=form) for form in ("directory", "missing", "loop", "dangling")]
)


@st.composite
def damaged_bytes(draw: st.DrawFn, good: bytes) -> Damaged:
    """The file with some bytes changed, lost, doubled or put in."""
    size = len(good)
    places = st.one_of(st.integers(0, size), st.integers(0, min(size, 256)))
    kind = draw(
        st.sampled_from(("cut", "flip", "flip", "flip", "lose", "double", "insert", "noise"))
    )
    at = draw(places)
    if kind == "cut":
        return Damaged(good[:at])
    if kind == "noise":
        return Damaged(draw(st.binary(max_size=300)))
    if kind == "flip":
        content = bytearray(good)
        for place in draw(st.lists(places, min_size=1, max_size=8)):
            content[min(place, size - 1)] ^= 1 << draw(st.integers(0, 7))
        return Damaged(bytes(content))
    end = min(size, at + draw(st.integers(1, 64)))
    if kind == "lose":
        return Damaged(good[:at] + good[end:])
    if kind == "double":
        return Damaged(good[:end] + good[at:])
    new = draw(
        st.one_of(st.binary(min_size=1, max_size=16), st.just(b"\xff" * 8), st.just(bytes(8)))
    )
    over = draw(st.booleans())  # in the place of what stands there
    return Damaged(good[:at] + new + good[at + len(new) * over :])


def damaged_file(good: bytes) -> SearchStrategy[Damaged]:
    """Mostly damaged bytes, now and then no file at all."""
    usual = damaged_bytes(good)
    return st.one_of(usual, usual, usual, usual, usual, NO_FILE)


# What may stand in the place of any value of a JSON file.
HOSTILE: SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1, 2, 3, 2**31, 2**60, 2**64, -(2**63), 10**400, 1e-300, 1e308]
    ),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 0.5, -0.5]),
    st.sampled_from(["", " ", "\0", "\ud800", "a" * 10_000, "../../etc/passwd", _DEEP]),
    st.sampled_from([[], {}, [None], [[]], {"": None}, [1] * 1000, [2**60, 2**60], [-1], ["a"]]),
    st.integers(),
    st.text(max_size=8),
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: Any = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value[:4]) if isinstance(value, list) else inner
    return [here, *(place for key, part in inner for place in _places(part, (*here, key)))]


def _changed(value: Any, place: tuple[Any, ...], kind: str, new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = place[0]
    if len(place) > 1 or kind == "replace":
        copy[key] = _changed(copy[key], place[1:], kind, new)
    elif kind == "remove":
        del copy[key]
    elif isinstance(copy, dict):
        copy[str(new)[:40]] = copy[key]
    else:
        copy.append(copy[key])
    return copy


@st.composite
def changed_json(draw: st.DrawFn, good: Any) -> str:
    """The text of a JSON value with one to three of its parts changed."""
    value = good
    for _ in range(draw(st.integers(1, 3))):
        place = draw(
            st.sampled_from(_places(value)[0 if draw(st.integers(0, 20)) == 0 else 1 :] or [()])
        )
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add")))
        value = _changed(value, place, kind, draw(HOSTILE))
    text = json.dumps(value)
    return text.replace(_MARK, draw(st.sampled_from(_NESTED))) if _MARK in text else text


def damaged_json(good: bytes) -> SearchStrategy[Damaged]:
    changed = changed_json(json.loads(good)).map(lambda text: Damaged(text.encode()))
    deep = st.sampled_from([Damaged(text.encode()) for text in _NESTED])
    return st.one_of(changed, changed, changed, changed, changed, damaged_file(good), deep)


@st.composite
def _changed_safetensors(draw: st.DrawFn, good: bytes) -> Damaged:
    """A header that says something else, or values that are none."""
    length = int.from_bytes(good[:8], "little")
    data = good[8 + length :]
    kind = draw(st.sampled_from(("header", "header", "header", "length", "values")))
    if kind == "length":
        other = draw(
            st.sampled_from([0, 1, length - 1, length + 1, 2**31, 2**60, 2**63, 2**64 - 1])
        )
        return Damaged(other.to_bytes(8, "little") + good[8:])
    if kind == "values":
        word = draw(st.sampled_from([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f"]))
        return Damaged(good[: 8 + length] + word * (len(data) // 4) + data[len(data) // 4 * 4 :])
    header = draw(changed_json(json.loads(good[8 : 8 + length]))).encode()
    return Damaged(len(header).to_bytes(8, "little") + header + data)


def damaged_safetensors(good: bytes) -> SearchStrategy[Damaged]:
    return st.one_of(_changed_safetensors(good), _changed_safetensors(good), damaged_file(good))

"""A voice in one file: there and back, and refused when it is not as it was made."""

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save
from voice_records import entry

from tritone.errors import InvalidRequest
from tritone.frontend.registry.pack import MOST_PACK_BYTES, open_pack, pack_voice


def packed() -> bytes:
    return pack_voice(*entry("ann", transcript="说 it", notes=("a note",)))


def test_a_pack_has_the_whole_voice() -> None:
    record, arrays = entry("ann", transcript="说 it", notes=("a note",))
    found, read = open_pack(packed())
    assert found == record
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def refused(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        open_pack(data)
    assert caught.value.field == "pack"


def test_a_changed_array_is_found() -> None:
    data = bytearray(packed())
    data[-1] ^= 1
    refused(bytes(data), "its arrays are not those of the digest")


def test_a_changed_record_is_found() -> None:
    refused(packed().replace(b"hers, by letter", b"ours, by letter"), "its record is not that of")


def test_a_changed_digest_is_found() -> None:
    record, arrays = entry("ann")
    text = record.to_text()
    refused(save(arrays, {"voice": text, "digest": "0" * 64}), "its record is not that of")


def test_a_record_that_no_registry_would_keep_is_refused() -> None:
    """Made with fitting digests, by somebody who can."""
    record, arrays = entry("ann")
    for name, value in (("id", "../x"), ("family", 3), ("arrays", "0" * 64), ("format", 2)):
        text = json.dumps({**json.loads(record.to_text()), name: value})
        digest = hashlib.sha256(text.encode()).hexdigest()
        refused(save(arrays, {"voice": text, "digest": digest}), "is damaged")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"\xff" * 8,
        b"\xff" * 100,
        b"\2\0\0\0\0\0\0\0{}",
        b"\4\0\0\0\0\0\0\0null",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        save({"x": np.zeros(2)}),
        save({"x": np.zeros(2)}, {"voice": "{}"}),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_what_is_no_pack_is_refused(data: bytes) -> None:
    refused(data, "is no voice pack")


def test_a_pack_cut_short_is_refused_wherever() -> None:
    data = packed()
    for length in range(0, len(data), 97):
        refused(data[:length], "is no voice pack|is damaged")


def test_a_pack_has_a_limit() -> None:
    refused(bytes(MOST_PACK_BYTES + 1), f"the limit is {MOST_PACK_BYTES}")

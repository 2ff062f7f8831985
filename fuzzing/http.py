"""What arrives at the ports and is no request: broken JSON, broken HTTP, bytes of nothing."""

import json
from typing import Any

from hypothesis import strategies as st

from fuzzing.damage import changed_json, damaged_bytes

_GOOD: dict[str, Any] = {
    "id": "1",
    "parameters": {"sequence_id": 1},
    "inputs": [
        {"name": "target_text", "shape": [1, 1], "datatype": "BYTES", "data": ["Hi."]},
        {"name": "speed", "shape": [1, 1], "datatype": "FP32", "data": [1.0]},
        {"name": "seed", "shape": [1, 1], "datatype": "UINT64", "data": [1]},
    ],
    "outputs": [{"name": "waveform", "parameters": {"binary_data": False}}],
}
_PLAIN = {"target_text": "Hi.", "speed": 9.0, "seed": 1, "id": "1"}  # refused, however it is sent
_MODELS = ("cosyvoice2", "frontend", "tensorrt_llm", "token2wav", "vocoder", "nobody", "%00", "..")
_ENDS = ("infer", "generate", "generate_stream", "versions/1/infer", "load", "trace/setting", "")
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Inference-Header-Content-Length": "10"},
    {"Inference-Header-Content-Length": "-1"},
    {"Inference-Header-Content-Length": "99999999999999999999"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "deflate"},
    {"Content-Type": "text/plain"},
)


def _named(name: bytes) -> bytes:
    """To the public model and the language model, which read the id of a request."""
    llm = b'"input_ids": [1, 2], "input_lengths": 2, "request_output_len": 2'
    return b'{"id": "%s", "target_text": "Hi.", "speed": 9.0, %s}' % (name, llm)


Post = tuple[str, bytes, dict[str, str]]


@st.composite
def posts(draw: st.DrawFn) -> Post:
    """Path, body and headers. A body says seldom what a model would do."""
    path = f"/v2/models/{draw(st.sampled_from(_MODELS))}/{draw(st.sampled_from(_ENDS))}"
    good = draw(st.sampled_from((_GOOD, _PLAIN)))
    body = draw(
        st.one_of(
            changed_json(good).map(lambda text: text.encode()),
            changed_json(good).map(lambda text: text.encode()),
            damaged_bytes(json.dumps(good).encode()).map(lambda damaged: damaged.content),
            st.binary(max_size=60),
            st.sampled_from((b"[" * 100_000, b'{"inputs":' * 50_000)),
            st.sampled_from((b"\xff\xfe", b"\xed\xa0\x80", b"a" * 10_000)).map(_named),
        )
    )
    return path, body, draw(st.sampled_from(_HEADERS))


Thrown = tuple[str, list[bytes], bool]

_BEGINNINGS = (
    b"POST /v2/models/cosyvoice2/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{",
    b"POST /v2/models/cosyvoice2/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n{",
    b"POST /v2/models/cosyvoice2/generate HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
    b"GET /v2/health/ready HTTP/9.9\r\n\r\n",
    b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 50,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x01\x04\x00\x00\x00\x01" + b"\x82" * 99,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"",
)


@st.composite
def thrown(draw: st.DrawFn) -> Thrown:
    """Port, pieces, and whether what comes back is waited for."""
    first = draw(st.sampled_from(_BEGINNINGS))
    damaged = draw(st.one_of(st.just(first), damaged_bytes(first or b"?").map(lambda d: d.content)))
    rest = draw(st.lists(st.binary(max_size=40), max_size=3))
    return draw(st.sampled_from(("grpc", "http"))), [damaged, *rest], draw(st.booleans())

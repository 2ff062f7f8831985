"""Attention over spans, the relative positions of the encoder, and the store of keys and values."""

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from token2wav_model import draw
from torch import Tensor

from tritone.acoustic import attention
from tritone.acoustic.attention import RelativeAttention, attend, attend_chunks, chunk_mask
from tritone.acoustic.cache import KeyValueStore, Span


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=draw(seed))


def relative_attention(width: int = 16, heads: int = 2) -> RelativeAttention:
    layer = RelativeAttention(width, heads)
    for seed, weight in enumerate(layer.parameters()):
        weight.copy_(0.3 * random(*weight.shape, seed=seed))
    return layer


def closed_form(layer: RelativeAttention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The definition, one pair of query and key at a time, for x (n, width)."""
    n, width = x.shape
    depth = width // layer.heads
    query, key, value = (
        f(x).view(n, layer.heads, depth) for f in (layer.query, layer.key, layer.value)
    )
    out = torch.zeros(n, layer.heads, depth)
    for head in range(layer.heads):
        scores = torch.full((n, n), -math.inf)
        for i in range(n):
            for j in range(n):
                if mask is not None and not mask[i, j]:
                    continue
                angles = [(i - j) / 10000 ** (2 * m / width) for m in range(width // 2)]
                sinusoid = torch.tensor([f(a) for a in angles for f in (math.sin, math.cos)])
                position = layer.position(sinusoid).view(layer.heads, depth)[head]
                content = (query[i, head] + layer.content_bias[head]) @ key[j, head]
                place = (query[i, head] + layer.position_bias[head]) @ position
                scores[i, j] = (content + place) / math.sqrt(depth)
        out[:, head] = scores.softmax(dim=1) @ value[:, head]
    return layer.output(out.flatten(1))


def store(**options: int) -> KeyValueStore:
    return KeyValueStore(1, 1, 2, 8, **{"chunk": 4, **options})


def fill(target: KeyValueStore, sizes: list[int], first: float = 0.0) -> list[list[float]]:
    """Write chunks whose frames hold their own position; what each write may see, in order."""
    seen, position = [], first
    for size in sizes:
        frames = torch.arange(position, position + size)[None, None, :, None].expand(1, 2, -1, 8)
        spans = target.write(0, frames, -frames)
        for span in spans:
            places = torch.arange(span.start, span.start + span.key.shape[2])
            assert torch.equal(span.key[0, 0, :, 0], places.float())
            assert torch.equal(span.value, -span.key)
        seen.append(sorted(p for span in spans for p in span.key[0, 1, :, 3].tolist()))
        target.advance(size)
        position += size
    return seen


@pytest.mark.parametrize("chunk", [None, 3])
def test_relative_attention_is_its_definition(chunk: int | None) -> None:
    layer, x = relative_attention(), random(7, 16)
    mask = None if chunk is None else chunk_mask(7, chunk)
    y = layer(x[None], None, 0, mask)[0]
    assert (y - closed_form(layer, x, mask)).abs().max() < 1e-5


@pytest.mark.parametrize("masked", [False, True])
@torch.inference_mode()
def test_blocks_of_queries_are_all_of_them(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = relative_attention(), random(1, 300, 16)
    mask = chunk_mask(300, 25) if masked else None
    stored = store(chunk=300)

    def outputs() -> list[Tensor]:
        return [layer(x, None, 0, mask), layer(x, stored.fork(), 0, None)]

    in_blocks = outputs()
    monkeypatch.setattr(attention, "_TOGETHER", 300)
    for block, whole in zip(in_blocks, outputs(), strict=True):
        assert (block - whole).abs().max() < 1e-6


@pytest.mark.parametrize("forked_at", [0, 8])
@pytest.mark.parametrize("left_chunks", [0, 1])
def test_relative_attention_over_a_store_equals_one_pass(forked_at: int, left_chunks: int) -> None:
    layer, x = relative_attention(), random(1, 22, 16)
    mask = chunk_mask(22, 4, left_chunks=left_chunks, prefix=forked_at)
    whole = layer(x, None, 0, mask)
    target, outputs = store(left_chunks=left_chunks), []
    for begin in range(0, 22, 4):
        target = target.fork() if begin == forked_at else target
        outputs.append(layer(x[:, begin : begin + 4], target, 0, None))
        target.advance(outputs[-1].shape[1])
    assert (torch.cat(outputs, dim=1) - whole).abs().max() < 1e-5


def test_positions_may_go_far() -> None:
    layer, x = relative_attention(), random(1, 200, 16)
    near = layer(x[:, :5], None, 0, None)
    layer(x, None, 0, None)  # the table of distances grows
    assert torch.allclose(layer(x[:, :5], None, 0, None), near, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", "scores", "boolean"])
def test_spans_are_one_span(kind: str) -> None:
    query, key, value = random(2, 3, 5, 8), random(2, 3, 11, 8, seed=1), random(2, 3, 11, 8, seed=2)
    bias: Tensor | None = None
    if kind == "scores":
        bias = random(2, 3, 5, 11, seed=3)
    elif kind == "boolean":
        bias = random(5, 11, seed=3) > 0
    edges = [(0, 4), (4, 5), (5, 11)]
    spans = [Span(key[:, :, a:b], value[:, :, a:b], a) for a, b in edges]
    biases = [None if bias is None else bias[..., a:b] for a, b in edges]
    joined = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    assert (attend(query, [Span(key, value)], [bias]) - joined).abs().max() < 1e-6
    assert (attend(query, spans, biases) - joined).abs().max() < 1e-6


@pytest.mark.parametrize("left_chunks", [0, 2])
@pytest.mark.parametrize("fused", [True, False])
def test_chunks_together_are_each_alone(
    left_chunks: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a prompt, and after chunks of their own; where there is no fused kernel too."""
    if not fused:
        monkeypatch.setattr(attention, "_is_chosen", lambda query: False)
    voice = store(left_chunks=left_chunks)
    fill(voice, [4, 4])
    together, alone = voice.fork(), voice.fork()
    for begin, frames in ((0, 12), (12, 4), (16, 11)):
        query, key, value = (random(1, 2, frames, 8, seed=begin + part) for part in range(3))
        expected = []
        for piece in zip(*(x.split(4, dim=2) for x in (query, key, value)), strict=True):
            spans = alone.write(0, *piece[1:])
            expected.append(attend(piece[0], spans, [None] * len(spans)))
            alone.advance(piece[0].shape[2])
        found = attend_chunks(query, key, value, together, 0)
        together.advance(frames)
        assert (found - torch.cat(expected, dim=2)).abs().max() < 1e-5


def test_chunk_mask_by_hand() -> None:
    rows = ["".join(".x"[int(v)] for v in row) for row in chunk_mask(7, 2).tolist()]
    assert rows == ["xx.....", "xx.....", "xxxx...", "xxxx...", "xxxxxx.", "xxxxxx.", "xxxxxxx"]
    bounded = chunk_mask(7, 2, left_chunks=1, prefix=2)
    rows = ["".join(".x"[int(v)] for v in row) for row in bounded.tolist()]
    assert rows == ["xx.....", "xx.....", "xxxx...", "xxxx...", "xxxxxx.", "xxxxxx.", "xx..xxx"]


def test_a_store_grows_and_keeps_all() -> None:
    target = store()
    seen = fill(target, [4] * 9 + [3])
    assert seen == [list(range(min(39, 4 * k))) for k in range(1, 11)]
    assert target.length == 39 and target.prefix_length == 0
    assert target.nbytes == 64 * 2 * 2 * 8 * 4  # doubled to 64 frames


def test_a_ring_keeps_the_last_chunks_in_place() -> None:
    target = store(left_chunks=2).fork()
    assert target.nbytes == 0
    seen = fill(target, [4] * 7 + [2])
    assert seen == [list(range(max(0, 4 * k - 8), min(30, 4 * k + 4))) for k in range(8)]
    assert target.length == 30
    assert target.nbytes == 12 * 2 * 2 * 8 * 4


def test_a_ring_after_a_prefix() -> None:
    voice = store(left_chunks=1)
    assert fill(voice, [4] * 5)[-1] == list(range(20))  # a voice keeps its whole prompt
    target = voice.fork()
    assert (target.prefix_length, target.length) == (20, 20)
    seen = fill(target, [4] * 4, first=20)
    prompt = list(range(20))
    assert seen == [prompt + list(range(max(20, 16 + 4 * k), 24 + 4 * k)) for k in range(4)]


def test_forks_share_the_prefix_memory() -> None:
    voice = store()
    fill(voice, [4, 4])
    first, second = voice.fork(), voice.fork()
    fill(first, [4], first=8)
    keys = first.write(0, random(1, 2, 4, 8), random(1, 2, 4, 8))[0].key
    others = second.write(0, random(1, 2, 4, 8), random(1, 2, 4, 8))[0].key
    assert keys.data_ptr() == others.data_ptr() == voice._own.data_ptr()


def test_a_running_stream_is_not_forked() -> None:
    voice = store()
    fill(voice, [4])
    with pytest.raises(AssertionError):
        voice.fork().fork()

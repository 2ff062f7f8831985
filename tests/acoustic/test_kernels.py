"""The kernels of attention against softmax in float64, whatever the shapes and beside whatever."""

import math
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from native_kernels import NAMES, Guarded, drawn, error, exact, native, scores, spans_of
from native_kernels import dtype_of as dtype_named
from torch import Tensor

from tritone.acoustic.attention import joined
from tritone.acoustic.cache import KeyValueStore, Span
from tritone.acoustic.kernels.native import NativeAttention
from tritone.acoustic.linear import PackableLinear, pack_for_cpu

FLOAT32 = 2e-6  # relative
SHORT = 1.5  # times the error of torch's fused kernel on the same
ROUNDING = 1e-4  # beside it: of one key, torch's has none

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([32, 64, 96, 128]))
FRAMES = st.lists(st.integers(0, 3) | st.integers(0, 700), min_size=1, max_size=4).filter(any)
MANY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=NAMES)
def attention(request: pytest.FixtureRequest, kernels_folder: Path) -> NativeAttention:
    return native(request.param, kernels_folder)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def dtype_of(attention: NativeAttention) -> torch.dtype:
    return dtype_named(attention.name)


def assert_close(attention: NativeAttention, query: Tensor, spans: list[Span]) -> None:
    found, expected = attention(query, spans), exact(query, spans)
    assert found.shape == query.shape and found.dtype is query.dtype
    if query.dtype is torch.float32:
        assert error(found, expected) < FLOAT32
    else:
        fused = error(joined(query, spans), expected)
        assert error(found, expected) < SHORT * fused + ROUNDING


@MANY
@given(shape=SHAPES, queries=st.integers(1, 130), frames=FRAMES, seed=st.integers(0, 9))
@example(shape=(1, 1, 32), queries=1, frames=[1], seed=0)
@example(shape=(2, 2, 64), queries=64, frames=[256, 256, 0, 1], seed=0)
@example(shape=(1, 2, 96), queries=65, frames=[257, 255], seed=0)
def test_it_is_softmax_attention(
    attention: NativeAttention,
    shape: tuple[int, int, int],
    queries: int,
    frames: list[int],
    seed: int,
) -> None:
    rows, heads, width = shape
    dtype = dtype_of(attention)
    query = drawn((rows, heads, queries, width), seed + 100, dtype)
    assert_close(attention, query, spans_of(frames, shape, dtype, seed=seed))


@pytest.mark.parametrize("width", [16, 48, 80, 112, 144])
def test_heads_of_every_sixteen_in_float32(kernels_folder: Path, width: int) -> None:
    attention = native("avx512", kernels_folder)
    query = drawn((2, 2, 37, width), 5, torch.float32)
    assert_close(attention, query, spans_of([300, 20], (2, 2, width), torch.float32))


@pytest.mark.parametrize("values", [1e-30, 1e-38, 1e30])
def test_values_may_be_of_any_size(attention: NativeAttention, values: float) -> None:
    """1e-38 is half denormal, and the weights make it wholly so: nothing is left of that."""
    dtype, shape = dtype_of(attention), (1, 2, 64)
    query = drawn((1, 2, 20, 64), 1, dtype)
    spans = spans_of([40, 300], shape, dtype, values=values)
    if values == 1e-38:
        assert (attention(query, spans).double() - exact(query, spans)).abs().max() < 1.2e-38 * 340
    else:
        assert_close(attention, query, spans)


@pytest.mark.parametrize("size", [30.0, 300.0, 3000.0])
def test_scores_may_be_huge(attention: NativeAttention, size: float) -> None:
    """Float32 has a score of 10,000 to a thousandth, so no more can be asked of its weight."""
    dtype, shape = dtype_of(attention), (2, 2, 64)
    query = drawn((2, 2, 33, 64), 1, dtype, size)
    spans = spans_of([100, 0, 400], shape, dtype)
    largest = max(float(scores(query, s.key).abs().max()) for s in spans if s.key.shape[2])
    assert largest > 3 * size
    found, expected = attention(query, spans), exact(query, spans)
    fused = error(joined(query, spans), expected) if dtype is not torch.float32 else 0.0
    assert error(found, expected) < SHORT * fused + ROUNDING + 2.0**-24 * largest


def test_a_far_higher_score_in_the_last_block_takes_all(attention: NativeAttention) -> None:
    dtype = dtype_of(attention)
    query = torch.ones(1, 1, 3, 32, dtype=dtype)
    key, value = torch.full((1, 1, 600, 32), -50.0), drawn((1, 1, 600, 32), 1, torch.float32)
    key[:, :, 599] = 50
    spans = [Span(key.to(dtype), value.to(dtype))]
    assert torch.equal(attention(query, spans)[0, 0, 1], spans[0].value[0, 0, 599])


def test_what_is_no_number_is_seen(attention: NativeAttention) -> None:
    """In the row and head that had it, and in no other: the stream is found flawed."""
    dtype, shape = dtype_of(attention), (2, 2, 32)
    query, spans = drawn((2, 2, 40, 32), 1, dtype), spans_of([70, 300], shape, dtype)
    spans[1].value[0, 1, 299] = math.nan
    spans[0].key[1, 0, 3, 5] = math.nan
    found = attention(query, spans).isnan().all(dim=-1).all(dim=-1)
    assert found.tolist() == [[False, True], [True, False]]
    rest = attention(query, spans)[~found]
    assert not rest.isnan().any()


@pytest.mark.parametrize("queries", [1, 5, 50, 64, 130])
def test_nothing_is_read_or_written_around(
    attention: NativeAttention, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs within NaN, and an output that is watched."""
    dtype, shape = dtype_of(attention), (2, 3, 32)
    wide = torch.full((2, queries + 2, 3, 96), math.nan, dtype=dtype)
    query = wide[:, 1:-1, :, 32:64].transpose(1, 2)
    query.copy_(drawn(query.shape, 1, dtype))
    spans = spans_of([1, 15, 0, 257], shape, dtype, guard=40)
    assert_close(attention, query, spans)
    guarded = Guarded()
    monkeypatch.setattr(Tensor, "new_empty", lambda like, *shape: guarded(like, *shape))
    attention(query, spans)
    monkeypatch.undo()
    assert len(guarded.buffers) == 1
    guarded.assert_untouched()


@pytest.mark.parametrize("cache_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("left_chunks", [0, 2])
def test_spans_of_a_store(
    attention: NativeAttention, left_chunks: int, cache_dtype: torch.dtype
) -> None:
    """As a flow has them: a prompt, a ring or a buffer that grows, in whatever precision."""
    dtype = dtype_of(attention)
    voice = KeyValueStore(2, 2, 3, 32, chunk=10, left_chunks=left_chunks, dtype=cache_dtype)
    voice.write(1, *drawn((2, 2, 3, 30, 32), 1, cache_dtype))
    voice.advance(30)
    stream = voice.fork()
    for chunk in range(5):
        spans = stream.write(1, *drawn((2, 2, 3, 10, 32), chunk, cache_dtype))
        stream.advance(10)
        query = drawn((2, 3, 10, 32), chunk + 50, dtype)
        same = [Span(s.key.to(dtype), s.value.to(dtype)) for s in spans]
        assert torch.equal(attention(query, spans), attention(query, same))
        assert_close(attention, query, same)


def test_the_output_lies_as_it_says(attention: NativeAttention) -> None:
    dtype = dtype_of(attention)
    query = drawn((2, 3, 7, 64), 1, dtype)
    found = attention(query, spans_of([9], (2, 3, 64), dtype))
    assert found.shape == query.shape and found.transpose(1, 2).is_contiguous()


def test_other_layouts_are_the_same(attention: NativeAttention) -> None:
    """Values of a head that lie apart, and rows that are one in memory."""
    dtype = dtype_of(attention)
    query, spans = drawn((2, 2, 9, 32), 1, dtype), spans_of([40], (2, 2, 32), dtype)
    expected = attention(query, spans)
    turned = [
        Span(*(x.transpose(2, 3).contiguous().transpose(2, 3) for x in (s.key, s.value)))
        for s in spans
    ]
    assert torch.equal(
        attention(query.transpose(0, 3).contiguous().transpose(0, 3), turned), expected
    )
    one = [Span(s.key[:1].expand(2, -1, -1, -1), s.value[:1].expand(2, -1, -1, -1)) for s in spans]
    assert torch.equal(attention(query[:1].expand(2, -1, -1, -1), one)[1], expected[0])


def test_equal_to_the_last_bit_alone_and_among_others(attention: NativeAttention) -> None:
    dtype = dtype_of(attention)
    query, spans = drawn((3, 4, 50, 64), 1, dtype), spans_of([150, 250, 50], (3, 4, 64), dtype)
    together = attention(query, spans)
    for row, head in ((0, 0), (1, 3), (2, 1)):
        part = (slice(row, row + 1), slice(head, head + 1))
        alone = attention(query[part], [Span(s.key[part], s.value[part]) for s in spans])
        assert torch.equal(alone, together[part])
    few = attention(query[:, :, 7:20], spans)  # of the queries too
    assert torch.equal(few, together[:, :, 7:20])


def test_two_threads_at_once(attention: NativeAttention) -> None:
    dtype = dtype_of(attention)
    calls = [
        (drawn((2, 4, n, 64), n, dtype), spans_of([300, n], (2, 4, 64), dtype)) for n in (50, 33)
    ]
    expected = [attention(*call) for call in calls]
    barrier, wrong = Barrier(4), []

    def repeat(index: int) -> None:
        barrier.wait()
        with torch.inference_mode():
            for _ in range(40):
                if not torch.equal(attention(*calls[index % 2]), expected[index % 2]):
                    wrong.append(index)

    threads = [Thread(target=repeat, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_onednn_s_products_in_between_stay_right(attention: NativeAttention) -> None:
    """Both use the processor's tiles, whose layout oneDNN does not set anew in each call."""
    dtype = dtype_of(attention)
    layer = PackableLinear(96, 160).bfloat16()
    pack_for_cpu(layer, 100)
    assert layer.packed is not None
    inputs = [drawn((1, n, 96), n, torch.bfloat16) for n in (100, 37, 1)]
    square = drawn((70, 70), 3, torch.bfloat16)
    query, spans = drawn((2, 2, 50, 64), 1, dtype), spans_of([300, 31], (2, 2, 64), dtype)
    products = [*(layer(x) for x in inputs), square @ square]
    expected = attention(query, spans)
    for _ in range(5):
        for x, product in zip(inputs, products, strict=False):
            assert torch.equal(layer(x), product)
            assert torch.equal(attention(query, spans), expected)
            assert torch.equal(layer(x), product)
        assert torch.equal(square @ square, products[-1])
        assert torch.equal(attention(query, spans), expected)


def test_it_leaves_the_rounding_of_the_thread_alone(attention: NativeAttention) -> None:
    """It takes denormal numbers for zero, and nobody after it may."""
    dtype = dtype_of(attention)
    attention(drawn((1, 1, 5, 32), 1, dtype), spans_of([9], (1, 1, 32), dtype))
    assert float(torch.tensor([1e-30]) * torch.tensor([1e-10])) > 0


def test_it_accepts_what_it_was_written_for(attention: NativeAttention) -> None:
    dtype = dtype_of(attention)
    other = torch.float32 if dtype is torch.bfloat16 else torch.bfloat16
    assert attention.accepts(torch.empty(1, 2, 3, 64, dtype=dtype))
    assert not attention.accepts(torch.empty(1, 2, 3, 64, dtype=other))
    assert not attention.accepts(torch.empty(1, 2, 3, 40, dtype=dtype))

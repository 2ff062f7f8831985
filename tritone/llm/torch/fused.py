"""Operators that do several things in one launch, for steps of a language model on a GPU.

`kernels` has what runs there. On a CPU they run in the interpreter of the package `triton`, for
tests. Products are torch's own.
"""

import math

import torch
from torch import Tensor

from tritone.llm.torch.kernels import launch
from tritone.operators import block, count, operator

_COLUMNS = 1024  # of a row in a program
_KEYS = 32
_PROGRAMS = 128  # that fill a GPU, about one for each of its multiprocessors
_MOST_SPLITS = 64
_SEVERAL_WARPS = 8


@operator()
def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Of each row of x (rows, width)."""
    assert x.is_contiguous()
    y, (rows, width) = torch.empty_like(x), x.shape
    launch("rows.rms_norm", (rows,), x, weight, y, EPS=eps, WIDTH=width, COLUMNS=block(width))
    return y


@operator()
def gated_silu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, of gate and up side by side in gate_up (rows, 2 * width)."""
    assert gate_up.is_contiguous()
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    y, columns = gate_up.new_empty(rows, width), block(width, _COLUMNS)
    grid = (rows, count(width, columns))
    launch("rows.gated_silu", grid, gate_up, y, WIDTH=width, COLUMNS=columns)
    return y


@operator("cache")
def turned_heads(
    projected: Tensor, cosine: Tensor, sine: Tensor, slots: Tensor, lengths: Tensor, cache: Tensor
) -> Tensor:
    """Turn queries and keys, write keys and values to their places, and return the queries.

    projected (rows, all heads * head_dim): queries, keys, values. cosine, sine (positions,
    head_dim / 2) float32. slots, lengths (rows,) int64: where each row stands. cache (2, all
    slots, kv_heads, positions, head_dim), of a layer. Returns (rows, heads, head_dim).
    """
    assert projected.is_contiguous() and cosine.is_contiguous() and sine.is_contiguous()
    _, _, heads, positions, dim = cache.shape
    rows = len(projected)
    queries = projected.shape[1] // dim - 2 * heads
    query = projected.new_empty(rows, queries, dim)
    launch(
        "attention.turned_heads",
        (rows, queries + 2 * heads),
        *(projected, cosine, sine, slots, lengths, cache, query),
        *(cache.stride(0), cache.stride(1), positions),
        QUERIES=queries,
        HEADS=heads,
        HALF=dim // 2,
        COLUMNS=block(dim // 2),
        num_warps=1,
    )
    return query


@operator()
def split_attention(
    query: Tensor, slots: Tensor, lengths: Tensor, cache: Tensor, limit: int
) -> tuple[Tensor, Tensor]:
    """Attention of each row up to where it stands, in parts that `joined_splits` joins.

    query (rows, heads, head_dim), the others as above; rows at position `limit` get zeros. Returns
    (splits, rows, heads, head_dim), float32 where there are several, and (splits, rows, heads).
    """
    assert query.is_contiguous() and cache[0, 0].is_contiguous()
    _, _, heads, positions, dim = cache.shape
    rows, queries, _ = query.shape
    splits = min(_MOST_SPLITS, max(1, _PROGRAMS // (rows * heads)))
    kind = query.dtype if splits == 1 else torch.float32
    y = query.new_empty(splits, rows, queries, dim, dtype=kind)
    masses = query.new_empty(splits, rows, queries, dtype=torch.float32)
    launch(
        "attention.split_attention",
        (rows * heads, splits),
        *(query, slots, lengths, cache, y, masses),
        *(cache.stride(0), cache.stride(1), positions, limit),
        SCALE=math.log2(math.e) / math.sqrt(dim),
        HEADS=heads,
        GROUP=queries // heads,
        HALF=dim // 2,
        QUERIES=block(queries // heads),
        KEYS=_KEYS,
        COLUMNS=block(dim // 2),
    )
    return y, masses


@operator()
def joined_splits(parts: Tensor, masses: Tensor, like: Tensor) -> Tensor:
    """What `split_attention` gives, joined: of the type and shape of `like`."""
    splits, rows, queries, dim = parts.shape
    y = torch.empty_like(like)
    launch(
        "attention.joined_splits",
        (rows * queries,),
        *(parts, masses, y, splits),
        WIDTH=dim,
        SPLITS=block(splits),
        COLUMNS=block(dim),
    )
    return y


def slot_attention(
    query: Tensor, slots: Tensor, lengths: Tensor, cache: Tensor, limit: int
) -> Tensor:
    """(rows, heads, head_dim), as `split_attention` says."""
    parts, masses = split_attention(query, slots, lengths, cache, limit)
    return parts[0] if len(parts) == 1 else joined_splits(parts, masses, query)


@operator()
def drawn_tokens(
    logits: Tensor, numbers: Tensor, window: Tensor, first: int, end: int, likely: int
) -> Tensor:
    """(rows, 2) int64 of logits (rows, head), as `tritone.llm.torch.drawing.Drawing` draws them by
    numbers and window; columns first to end may be banned, a nucleus has at most `likely`."""
    assert logits.is_contiguous() and numbers.is_contiguous() and window.is_contiguous()
    rows, width = logits.shape
    y = logits.new_empty(rows, 2, dtype=torch.int64)
    launch(
        "drawing.drawn_tokens",
        (rows,),
        *(logits, numbers, window, y),
        WAITING=first,
        WAITED=end,
        NUMBERS=numbers.shape[1],
        WINDOW=window.shape[1],
        LOOK=block(window.shape[1]),
        LIKELY=likely,
        WIDTH=width,
        COLUMNS=block(width),
        num_warps=_SEVERAL_WARPS,
    )
    return y

"""Attention over keys and values that lie in pages, and what writes them there.

pages (n, frames, heads, head_dim); queries and what is attended (rows, frames, heads * head_dim).
"""

import math

import torch
from torch import Tensor

from tritone.acoustic.fused.kernels import launch
from tritone.operators import LEAST, block, count, operator

_QUERIES, _KEYS = 32, 64
_ROWS, _PAIRS = 16, 64


@operator()
def paged_attention(query: Tensor, pages: Tensor, table: Tensor, seen: Tensor) -> Tensor:
    """Softmax attention of each row over the frames that it may see.

    table (2 * rows * reach,): the pages of the keys of each row in order, then of the values. seen
    (n,): frames of them, one at least; rows are a multiple of n, and take them in turn.
    """
    assert query.is_contiguous()
    rows, frames, _ = query.shape
    heads, width = pages.shape[-2:]
    queries, y = block(frames, _QUERIES), torch.empty_like(query)
    launch(
        "attention.paged_attention",
        (rows * heads, count(frames, queries)),
        *(query, pages, table, seen, y, len(seen), seen.stride(0), len(table) // (2 * rows)),
        SCALE=math.log2(math.e) / math.sqrt(width),
        HEADS=heads,
        WIDTH=width,
        FRAMES=frames,
        QUERIES=queries,
        KEYS=_KEYS,
        COLUMNS=block(width),
    )
    return y


@operator("pages")
def turned_pages(projected: Tensor, turn: Tensor, newest: Tensor, pages: Tensor) -> Tensor:
    """Turn the first channels of queries and keys, and write keys and values to pages.

    projected (rows, frames, 3 * heads * head_dim): queries, keys and values side by side. turn
    (rows, frames, pairs, 2): cosine and sine, in float32. newest (2, rows): the pages of a row.
    Returns the queries.
    """
    assert projected.is_contiguous() and turn.is_contiguous()
    rows, frames, widths = projected.shape
    inner = widths // 3
    query = projected.new_empty(rows, frames, inner)
    pairs = min(_PAIRS, max(LEAST, block(inner // 2)))
    launch(
        "attention.turned_pages",
        (count(rows * frames, _ROWS), count(inner, 2 * pairs), 3),
        *(projected, turn, newest, pages, query, rows * frames),
        INNER=inner,
        TURNED=turn.shape[2],
        FRAMES=frames,
        ROWS=_ROWS,
        COLUMNS=pairs,
    )
    return query

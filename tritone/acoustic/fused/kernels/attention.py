"""Attention over keys and values where they lie, in pages; rotary positions on their way there."""

import triton
import triton.language as tl

from tritone.kernel_parts import dot


@triton.jit(do_not_specialize=["given", "apart", "reach"])
def paged_attention(
    query,
    pages,
    table,
    seen,
    y,
    given,
    apart,
    reach,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    FRAMES: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Of one head of QUERIES frames of a row, over the first `seen` frames of the row's pages.

    query, y (rows, FRAMES, HEADS * WIDTH); pages (n, FRAMES, HEADS * WIDTH); table (2, rows,
    reach), of keys and of values; seen (given,), of the rows in turn, which lie
    `apart`. SCALE: of the scores, as
    logarithms to base 2. Keys are taken KEYS at a time with a softmax that is corrected as it goes
    (Dao et al. 2022, arXiv:2205.14135); pages after those that are seen are not touched.
    """
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    rows = tl.num_programs(0) // HEADS
    frame = tl.program_id(1) * QUERIES + tl.arange(0, QUERIES)
    column = tl.arange(0, COLUMNS)
    is_column = column < WIDTH
    place = (row * FRAMES + frame[:, None]) * (HEADS * WIDTH) + head * WIDTH + column[None, :]
    is_query = (frame < FRAMES)[:, None] & is_column[None, :]
    asked = tl.load(query + place, mask=is_query, other=0.0)
    visible = tl.load(seen + row % given * apart).to(tl.int32)
    most = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    attended = tl.zeros([QUERIES, COLUMNS], tl.float32)
    for first in range(0, visible, KEYS):
        key = first + tl.arange(0, KEYS)
        is_key = key < visible
        slot = row * reach + key // FRAMES
        offset = (key % FRAMES) * (HEADS * WIDTH) + head * WIDTH
        page = tl.load(table + slot, mask=is_key, other=0) * (FRAMES * HEADS * WIDTH)
        keys = tl.load(
            pages + (page + offset)[None, :] + column[:, None],
            mask=is_key[None, :] & is_column[:, None],
            other=0.0,
        )
        scores = dot(asked, keys) * SCALE
        scores = tl.where(is_key[None, :], scores, float("-inf"))
        greatest = tl.maximum(most, tl.max(scores, axis=1))
        kept = tl.exp2(most - greatest)
        weights = tl.exp2(scores - greatest[:, None])
        page = tl.load(table + rows * reach + slot, mask=is_key, other=0) * (FRAMES * HEADS * WIDTH)
        values = tl.load(
            pages + (page + offset)[:, None] + column[None, :],
            mask=is_key[:, None] & is_column[None, :],
            other=0.0,
        )
        attended = attended * kept[:, None]
        attended += dot(weights.to(values.dtype), values)
        total = total * kept + tl.sum(weights, axis=1)
        most = greatest
    attended = attended / total[:, None]
    tl.store(y + place, attended.to(y.dtype.element_ty), mask=is_query)


@triton.jit(do_not_specialize=["count"])
def turned_pages(
    projected,
    turn,
    newest,
    pages,
    query,
    count,
    INNER: tl.constexpr,
    TURNED: tl.constexpr,
    FRAMES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Queries, keys and values side by side, projected (count, 3 * INNER): to `query` and to pages.

    A program has COLUMNS pairs of neighbouring channels of one of the three. The first
    TURNED pairs of queries and keys are turned; turn (count, TURNED, 2) has cosine and sine.
    newest (2, count / FRAMES).
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * 2 * COLUMNS + tl.arange(0, 2 * COLUMNS)
    pair = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(2)
    is_row = row < count
    mask = is_row[:, None] & (column < INNER)[None, :]
    place = projected + row[:, None] * (3 * INNER) + part * INNER + column[None, :]
    block = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    first, second = tl.split(tl.reshape(block, [ROWS, COLUMNS, 2]))
    is_turned = is_row[:, None] & (pair < tl.where(part < 2, TURNED, 0))[None, :]
    angle = turn + (row[:, None] * TURNED + pair[None, :]) * 2
    cosine = tl.load(angle, mask=is_turned, other=1.0)
    sine = tl.load(angle + 1, mask=is_turned, other=0.0)
    one = first * cosine - second * sine
    other = second * cosine + first * sine
    block = tl.reshape(tl.join(one, other), [ROWS, 2 * COLUMNS]).to(query.dtype.element_ty)
    if part == 0:
        tl.store(query + row[:, None] * INNER + column[None, :], block, mask=mask)
    else:
        page = tl.load(newest + ((part - 1) * count + row) // FRAMES, mask=is_row, other=0)
        base = (page * FRAMES + row % FRAMES) * INNER
        tl.store(pages + base[:, None] + column[None, :], block, mask=mask)

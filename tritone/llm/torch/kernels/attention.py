"""Attention over the keys and values of slots.

A layer's cache is (2, all slots, HEADS, positions, 2 * HALF): keys, then values; `part` is the
distance of the two, `slot_size` that of two slots. A row stands at position `length` of a slot and
sees all up to it. Rows at `limit`, where no stream comes, stand for nothing: they see nothing.
"""

import triton
import triton.language as tl

from tritone.kernel_parts import dot

_NOTHING = tl.constexpr(-1e30)  # the mass of a part that has no keys: less than that of any key


@triton.jit(do_not_specialize=["part", "slot_size", "positions"])
def turned_heads(
    projected,
    cosine,
    sine,
    slots,
    lengths,
    cache,
    query,
    part,
    slot_size,
    positions,
    QUERIES: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Queries, keys and values side by side, projected (rows, QUERIES + 2 * HEADS heads): turned
    queries to `query`, turned keys and values to where the row stands.

    cosine, sine (positions, HALF), of pairs of the first and the second half of a head.
    """
    row, head = tl.program_id(0), tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    mask = column < HALF
    place = projected + (row * (QUERIES + 2 * HEADS) + head) * (2 * HALF) + column
    first = tl.load(place, mask=mask, other=0.0).to(tl.float32)
    second = tl.load(place + HALF, mask=mask, other=0.0).to(tl.float32)
    length = tl.load(lengths + row)
    is_turned = column < tl.where(head < QUERIES + HEADS, HALF, 0)
    real = tl.load(cosine + length * HALF + column, mask=is_turned, other=1.0)
    imaginary = tl.load(sine + length * HALF + column, mask=is_turned, other=0.0)
    one = (first * real - second * imaginary).to(cache.dtype.element_ty)
    other = (second * real + first * imaginary).to(cache.dtype.element_ty)
    if head < QUERIES:
        target = query + (row * QUERIES + head) * (2 * HALF) + column
    else:
        kept = head - QUERIES
        target = cache + kept // HEADS * part + tl.load(slots + row) * slot_size
        target += (kept % HEADS * positions + length) * (2 * HALF) + column
    tl.store(target, one, mask=mask)
    tl.store(target + HALF, other, mask=mask)


@triton.jit
def halves(place, is_row, column, HALF: tl.constexpr):
    """Both halves of heads that begin at `place`, a head in each row of the blocks."""
    mask = is_row[:, None] & (column < HALF)[None, :]
    first = tl.load(place[:, None] + column[None, :], mask=mask, other=0.0)
    second = tl.load(place[:, None] + HALF + column[None, :], mask=mask, other=0.0)
    return first, second


@triton.jit(do_not_specialize=["part", "slot_size", "positions", "limit"])
def split_attention(
    query,
    slots,
    lengths,
    cache,
    y,
    masses,
    part,
    slot_size,
    positions,
    limit,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HALF: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Of the GROUP queries that share a key, over one of several parts of what the row sees.

    query (rows, HEADS * GROUP, 2 * HALF); y (splits, rows, HEADS * GROUP, 2 * HALF); masses
    (splits, rows, HEADS * GROUP): the logarithm to base 2 of what the weights of a part sum to.
    SCALE: of scores, as such logarithms. Keys are taken KEYS at a time with a softmax that is
    corrected as it goes (Dao et al. 2022, arXiv:2205.14135). The parts of a row are equally long,
    whatever its neighbours have, and what a slot holds after them is not touched.
    """
    row, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    split, rows = tl.program_id(1), tl.num_programs(0) // HEADS
    column, asking = tl.arange(0, COLUMNS), tl.arange(0, QUERIES)
    is_query = asking < GROUP
    own = (row * HEADS + head) * GROUP + asking
    asked_first, asked_second = halves(query + own * (2 * HALF), is_query, column, HALF)
    length = tl.load(lengths + row).to(tl.int32)
    seen = tl.where(length < limit, length + 1, 0)
    span = tl.cdiv(tl.cdiv(seen, KEYS), tl.num_programs(1)) * KEYS
    begin = split * span
    end = tl.minimum(begin + span, seen)
    keys = cache + tl.load(slots + row) * slot_size + head * positions * (2 * HALF)
    most = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    attended_first = tl.zeros([QUERIES, COLUMNS], tl.float32)
    attended_second = tl.zeros([QUERIES, COLUMNS], tl.float32)
    for start in range(begin, end, KEYS):
        key = start + tl.arange(0, KEYS)
        is_key = key < end
        first, second = halves(keys + key * (2 * HALF), is_key, column, HALF)
        scores = dot(asked_first, tl.trans(first)) + dot(asked_second, tl.trans(second))
        scores = tl.where(is_key[None, :], scores * SCALE, float("-inf"))
        greatest = tl.maximum(most, tl.max(scores, axis=1))
        weights = tl.exp2(scores - greatest[:, None])
        kept = tl.exp2(most - greatest)
        first, second = halves(keys + part + key * (2 * HALF), is_key, column, HALF)
        given = weights.to(first.dtype)
        attended_first = attended_first * kept[:, None] + dot(given, first)
        attended_second = attended_second * kept[:, None] + dot(given, second)
        total = total * kept + tl.sum(weights, axis=1)
        most = greatest
    total = tl.where(total > 0.0, total, 1.0)  # of nothing
    share = 1.0 / total
    mask = is_query[:, None] & (column < HALF)[None, :]
    place = split * rows * HEADS * GROUP + own
    target = y + place[:, None] * (2 * HALF) + column[None, :]
    tl.store(target, (attended_first * share[:, None]).to(y.dtype.element_ty), mask=mask)
    tl.store(target + HALF, (attended_second * share[:, None]).to(y.dtype.element_ty), mask=mask)
    tl.store(masses + place, tl.maximum(most + tl.log2(total), _NOTHING), mask=is_query)


@triton.jit(do_not_specialize=["splits"])
def joined_splits(
    parts,
    masses,
    y,
    splits,
    WIDTH: tl.constexpr,
    SPLITS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """y (rows, WIDTH) = the mean of parts (splits, rows, WIDTH), each by its mass."""
    row, rows = tl.program_id(0), tl.num_programs(0)
    split, column = tl.arange(0, SPLITS), tl.arange(0, COLUMNS)
    is_part = split < splits
    mass = tl.load(masses + split * rows + row, mask=is_part, other=_NOTHING)
    share = tl.exp2(mass - tl.max(mass, axis=0))
    mask = is_part[:, None] & (column < WIDTH)[None, :]
    place = (split * rows + row)[:, None] * WIDTH + column[None, :]
    values = tl.load(parts + place, mask=mask, other=0.0)
    mean = tl.sum(values * share[:, None], axis=0) / tl.sum(share, axis=0)
    tl.store(y + row * WIDTH + column, mean.to(y.dtype.element_ty), mask=column < WIDTH)

"""Drawing the next token of each row, as `tritone.llm.torch.drawing` does it."""

import triton
import triton.language as tl


@triton.jit
def drawn_column(weights, uniform, column, WIDTH: tl.constexpr):
    """A column in proportion to its weight, by a number in [0, 1)."""
    cumulative = tl.cumsum(weights.to(tl.float64), axis=0)
    total = tl.max(cumulative, axis=0)
    inside = column < WIDTH
    found = tl.sum((inside & (cumulative <= total * uniform)).to(tl.int32), axis=0)
    # the product may round up to the total, which belongs to the last positive weight
    last = tl.sum((inside & (cumulative < total)).to(tl.int32), axis=0)
    return tl.minimum(found, last)


@triton.jit
def drawn_tokens(
    logits,
    numbers,
    window,
    y,
    WAITING: tl.constexpr,
    WAITED: tl.constexpr,
    NUMBERS: tl.constexpr,
    WINDOW: tl.constexpr,
    LOOK: tl.constexpr,
    LIKELY: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """y (rows, 2): the token of logits (rows, WIDTH), and whether it was drawn twice.

    numbers (rows, NUMBERS), window (rows, WINDOW): as `Drawing` has them. Columns WAITING to
    WAITED may be banned. The nucleus, of at most LIKELY tokens, is found one after another: it is
    a few, and of a greedy row one.
    """
    row, column = tl.program_id(0), tl.arange(0, COLUMNS)
    asked = numbers + row * NUMBERS
    top_k, top_p, temperature = tl.load(asked), tl.load(asked + 1), tl.load(asked + 2)
    waited = tl.where(tl.load(asked + 6) > 0, WAITED, WAITING)
    values = tl.load(logits + row * WIDTH + column, mask=column < WIDTH, other=float("-inf"))
    values = tl.where((column >= WAITING) & (column < waited), float("-inf"), values)
    values = tl.where(values == values, values, float("inf"))  # what is no number
    largest = tl.max(values, axis=0)
    broken = tl.abs(largest) == float("inf")
    values, largest = tl.where(broken, 0.0, values), tl.where(broken, 0.0, largest)
    weights = tl.exp((values - largest) / temperature.to(tl.float32))
    law = weights / tl.sum(weights, axis=0)

    rank, place, most = 0, tl.arange(0, LIKELY), tl.minimum(top_k.to(tl.int32), WIDTH)
    most = tl.where(broken, 0, tl.minimum(most, LIKELY))
    mass = 0.0
    ids = tl.zeros([LIKELY], tl.int32)
    kept = tl.zeros([LIKELY], tl.float32)
    while (rank < most) & (mass < top_p):
        # of equal ones the lower id goes first
        found = tl.argmax(values, axis=0, tie_break_left=True)
        is_found = (column == found) & (values > float("-inf"))
        share = tl.sum(tl.where(is_found, law, 0.0), axis=0)
        ids = tl.where(place == rank, found, ids)
        kept = tl.where(place == rank, share, kept)
        values = tl.where(column == found, float("-inf"), values)
        mass += share
        rank += 1
    chosen = drawn_column(kept, tl.load(asked + 3), place, LIKELY)
    token = tl.sum(tl.where(place == chosen, ids, 0), axis=0)

    look = tl.arange(0, LOOK)
    before = tl.load(window + row * WINDOW + look, mask=look < WINDOW, other=-1)
    repeats = tl.sum((before == token).to(tl.int32), axis=0)
    again = (repeats >= tl.load(asked + 5)) & (top_k > 1)
    if again:
        others = tl.where(column == token, 0.0, law)
        token = drawn_column(others, tl.load(asked + 4), column, WIDTH)
    tl.store(y + row * 2, tl.where(broken, -1, token).to(tl.int64))
    tl.store(y + row * 2 + 1, again.to(tl.int64))

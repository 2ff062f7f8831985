"""Sizes of the blocks that a program of a kernel takes: powers of two, 16 at least, which is what
matrix units want. Chosen by the shapes; nothing was measured."""

LEAST = 16


def block(size: int, most: int | None = None) -> int:
    """That holds `size` values, or `most` of them at a time."""
    whole = max(LEAST, 1 << (size - 1).bit_length())
    return whole if most is None else min(whole, most)


def count(size: int, block: int) -> int:
    """Blocks of this size that hold `size` values."""
    return -(-size // block)

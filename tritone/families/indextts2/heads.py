"""Heads of attention."""


def head_width(width: int, heads: int) -> int:
    """Raises ValueError where the heads do not share the width evenly."""
    if width % heads:
        raise ValueError(f"{heads} heads of a width of {width}; it must be a multiple")
    return width // heads

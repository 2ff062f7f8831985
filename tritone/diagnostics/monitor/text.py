"""Numbers, times and foreign text, as a terminal shows them."""

import math
from datetime import datetime

UNKNOWN = "-"


def number(value: float | None) -> str:
    """Whole numbers as they are, others with three digits."""
    whole = value is not None and value == int(value)
    return f"{value:.0f}" if whole else three_digits(value)


def three_digits(value: float | None) -> str:
    """Of a measurement, which is no whole number but by chance."""
    if value is None:
        return UNKNOWN
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, 2 - magnitude)}f}"


def percent(share: float | None) -> str:
    """share: 0 to 1."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def gib(count: float | None) -> str:
    """count: bytes."""
    return UNKNOWN if count is None else f"{count / 2**30:.2f}"


def duration(seconds: float | None) -> str:
    """Two units at most: 45 s, 12 min, 3 h 5 min, 2 d 4 h."""
    if seconds is None:
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def clock(moment: datetime) -> str:
    """Of this machine's time zone."""
    return moment.astimezone().strftime("%H:%M:%S")


def printable(text: str) -> str:
    """Without what could move the cursor: a message may hold what a stranger has sent."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))

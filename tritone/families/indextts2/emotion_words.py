"""What the emotion model answers to a text, as shares of the emotions. The rules are upstream's."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from tritone.families.indextts2.emotion import EMOTIONS

NAMES = dict(
    zip(EMOTIONS, ["高兴", "愤怒", "悲伤", "恐惧", "反感", "低落", "惊讶", "自然"], strict=True)
)
"""What the model calls them."""

_LABELS = ("emotion", "label", "情感", "情绪")  # under which it may name one alone
_MOST = 1.2
# The model takes these for sadness, and the other way round.
_MELANCHOLIC = ("低落", "melancholy", "melancholic", "depression", "depressed", "gloomy")
_PAIR = re.compile(r"""([^\s"'{}:：,，]{1,20})["']?\s*[:：]\s*["']?(-?\d+(?:\.\d+)?)""")


def shares_of(answer: str, text: str) -> tuple[float, ...]:
    """0 to 1.2 of each of EMOTIONS; calm alone where the answer names none. text: that was read."""
    said = _said(answer)
    shares = {emotion: _share(said.get(name)) for emotion, name in NAMES.items()}
    if any(word in text.lower() for word in _MELANCHOLIC):
        sad, melancholic = shares["sad"], shares["melancholic"]
        shares |= {"sad": melancholic, "melancholic": sad}
    if not any(shares.values()):
        shares["calm"] = 1.0
    return tuple(shares.values())


def _said(answer: str) -> Mapping[str, Any]:
    """By the model's names."""
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return {name: float(value) for name, value in _PAIR.findall(answer)}
    if not content.keys() & set(NAMES.values()):
        for label in (str(content[key]).strip() for key in _LABELS if key in content):
            if name := NAMES.get(label.lower(), label if label in NAMES.values() else ""):
                return {name: 1.0}
    return content


def _share(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # of a number, or of its digits
    except (TypeError, ValueError):
        return 0.0
    return 0.0 if math.isnan(number) else min(_MOST, max(0.0, number))

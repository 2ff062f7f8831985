"""The rules of WeTextProcessing, which upstream's front ends read text with (wetext)."""

import re
from functools import cache
from typing import TYPE_CHECKING

from tritone.frontend.text.segment import Language

if TYPE_CHECKING:
    from wetext import Normalizer

NUMBER_OR_REST = re.compile(r"\d+(?:[.,]\d+)*|\D+")


class WetextRules:
    """Of one language. Stateless; safe to use from several threads."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def __call__(self, text: str) -> str:
        """The spoken form; of ever smaller parts where the rules have none for the whole."""
        try:
            # Inside wetext quotes are escaped, and some come out that way.
            return str(_rules(self._language).normalize(text)).replace('\\"', '"')
        except AssertionError:  # raised by wetext when no path accepts the text
            words = text.split()
        if len(words) > 1:
            half = len(words) // 2
            parts = [" ".join(words[:half]), " ".join(words[half:])]
        else:
            parts = NUMBER_OR_REST.findall(text)
        if len(parts) < 2:
            return text
        return " ".join(self(part) for part in parts)


@cache
def _rules(language: Language) -> "Normalizer":
    """Its import reads the rules of all languages, which takes longer than all else of this room:
    whoever meets no text of theirs does without."""
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn", remove_erhua=False)

"""The rules of WeTextProcessing, which upstream's front ends read text with (wetext)."""

import re

from wetext import Normalizer

from tritone.frontend.text.segment import Language

NUMBER_OR_REST = re.compile(r"\d+(?:[.,]\d+)*|\D+")


class WetextRules:
    """Stateless; safe to use from several threads."""

    def __init__(self, language: Language) -> None:
        self._rules = Normalizer(lang=language, operator="tn", remove_erhua=False)

    def __call__(self, text: str) -> str:
        """The spoken form; of ever smaller parts where the rules have none for the whole."""
        try:
            # Inside wetext quotes are escaped, and some come out that way.
            return str(self._rules.normalize(text)).replace('\\"', '"')
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

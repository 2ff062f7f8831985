"""Two spellings of the same words made one, so that only what was heard counts as an error."""

import re
import unicodedata

from tritone.frontend.text.normalize import TextNormalizer

_APOSTROPHES = str.maketrans("’‘ʼ`", "''''")
_DOTTED = re.compile(r"\b(?:[a-z]\.){2,}")  # a.m., u.s.
_ABBREVIATION = re.compile(r"\b(?:mrs|mr|dr|prof|vs|etc|st|e\.g)\b\.?")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SENTENCE_MARK = re.compile(r"[.,;:!?]+(?=\s|$)")
_NOT_A_WORD = re.compile(r"[^\w' ]|_")
_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")
_SPELLED = re.compile(r"\b[A-Z](?: [A-Z]\b)+")
_DIGIT = re.compile(r"\d")

_SPOKEN = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "prof": "professor",
    "st": "saint",
    "vs": "versus",
    "etc": "et cetera",
    "e.g": "for example",
}
_SPELLING = {
    "colour": "color",
    "colours": "colors",
    "favourite": "favorite",
    "grey": "gray",
    "honour": "honor",
    "kilometre": "kilometer",
    "kilometres": "kilometers",
    "litre": "liter",
    "litres": "liters",
    "metre": "meter",
    "metres": "meters",
    "neighbour": "neighbor",
    "neighbours": "neighbors",
    "okay": "ok",
    "smokey": "smoky",
    "theatre": "theater",
    "travelled": "traveled",
}


class WordNormalizer:
    """Text to the words that are compared, for what was to be said and what was heard alike.

    Lower case; digits, amounts and times as words; titles and a few abbreviations in full; one
    (American) spelling; no accents, hyphens or punctuation. Contractions stay: "don't" is one word.
    """

    def __init__(self) -> None:
        self._numbers = TextNormalizer()

    def __call__(self, text: str) -> str:
        """The words of an English text, separated by single blanks; may be empty."""
        text = text.lower().translate(_APOSTROPHES)
        text = _ABBREVIATION.sub(lambda found: _SPOKEN[found[0].rstrip(".")], text)
        text = _DOTTED.sub(lambda found: found[0].replace(".", ""), text)
        text = _GROUPED.sub("", text)
        # Marks go first: the number rules take "no." for "number" and need "4" free of its stop.
        text = _SENTENCE_MARK.sub(" ", text)
        if _DIGIT.search(text):
            text = self._numbers(text, "en")
            text = _SPELLED.sub(lambda letters: letters[0].replace(" ", ""), text).lower()
        text = unicodedata.normalize("NFKD", text)
        text = "".join(char for char in text if not unicodedata.combining(char))
        text = _LOOSE_APOSTROPHE.sub(" ", _NOT_A_WORD.sub(" ", text))
        return " ".join(_SPELLING.get(word, word) for word in text.split())

"""How a checkpoint's own terms are said: glossary.json, which conversion writes.

{"NVMe": "N-V-M-E", "C++": {"en": "C plus plus", "zh": "C 加加"}}
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tritone.errors import ModelDirectoryError
from tritone.frontend.text.placeholders import tag_pattern
from tritone.frontend.text.segment import Language
from tritone.plain_json import parse_json

GLOSSARY_NAME = "glossary.json"

Reading = str | Mapping[Language, str]


class Glossary:
    """Safe to use from several threads. The longest of the terms that fit is read."""

    def __init__(self, terms: Mapping[str, Reading]) -> None:
        """terms: as they are written, in capitals or not, and how each is said: in both languages,
        or by language. In one that a term has no reading for it stays as it is here."""
        self._readings = {term.lower(): (term, reading) for term, reading in terms.items()}
        longest_first = sorted(terms, key=len, reverse=True)
        self._terms = re.compile(tag_pattern(longest_first).pattern, re.IGNORECASE)

    def __call__(self, text: str, language: Language) -> str:
        def said(match: re.Match[str]) -> str:
            term, reading = self._readings[match[0].lower()]
            return reading if isinstance(reading, str) else reading.get(language, term)

        return self._terms.sub(said, text)


def read_glossary(path: Path) -> Glossary:
    """An empty one where there is no file. Raises ModelDirectoryError for one that is wrong."""
    if not path.is_file():
        return Glossary({})
    terms = parse_json(path)
    for term, reading in terms.items():
        readings = reading.values() if isinstance(reading, dict) else [reading]
        languages = reading if isinstance(reading, dict) else ()
        known = all(language in ("en", "zh") for language in languages)
        if not term or not known or not all(isinstance(said, str) for said in readings):
            raise ModelDirectoryError(
                f"{path}: {term!r} has {reading!r:.80}; a reading, or one for en and one for zh"
            )
    return Glossary(terms)

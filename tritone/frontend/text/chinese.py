"""Chinese text as it is spoken, by the rules that upstream's front end uses (wetext)."""

import re
from functools import cache
from typing import TYPE_CHECKING

from tritone.frontend.text.english.web import IN_CHINESE
from tritone.frontend.text.placeholders import ANY
from tritone.frontend.text.traced import Change, Seen, Traced, ignore, joined, part_ends

if TYPE_CHECKING:
    from wetext import Normalizer

NUMERALS = "0-9零一二三四五六七八九十百千万亿幺两"
POINT_IN_NUMERALS = re.compile(rf"(?<=[{NUMERALS}])\.(?=[{NUMERALS}])")
BRACKETS = str.maketrans(dict.fromkeys("（）【】`", ""))
TRAILING_COMMAS = re.compile("[，,、]+$")
NUMBER_OR_REST = re.compile(r"\d+(?:[.,]\d+)*|\D+")
# wetext reads 约1/2 as 二分之约一, so a clause ends there too.
CLAUSE = re.compile(r"(?:(?!约\d+/\d)[^。！？!?；;])*(?:约(?=\d+/\d)|[。！？!?；;]*[”’\"]?)")
ADDRESS_MARKS = str.maketrans(
    {".": "点", "@": " at ", "/": "斜杠", "-": "杠", "_": "下划线", ":": "冒号", "?": "问号"}
)


class ChineseReader:
    """Stateless; safe to use from several threads."""

    def __call__(self, text: Traced, seen: Seen = ignore) -> Traced:
        """The spoken form of one line, clause by clause: what is read traces to its clause."""
        text = text.sub(IN_CHINESE, _address, seen, "address")
        clauses = [clause[0] for clause in CLAUSE.finditer(text.text) if clause[0]]
        parts = [self._clause(part, seen) for part in text.split(part_ends(clauses))]
        spoken = joined(parts)
        return spoken.sub(TRAILING_COMMAS, lambda _: "。")

    def _clause(self, text: Traced, seen: Seen) -> Traced:
        spoken = self._spoken(text.text)
        spoken = _drop_blanks(spoken).replace("²", "平方").replace("³", "立方")
        spoken = POINT_IN_NUMERALS.sub("点", spoken).replace(".", "。")
        spoken = spoken.replace(" - ", "，").translate(BRACKETS).replace("——", " ")
        if spoken == text.text:
            return text
        seen(Change("wetext", *text.span, text.text, spoken))
        return Traced(spoken, (*[text.origin[0]] * len(spoken), text.origin[-1]))

    def _spoken(self, text: str) -> str:
        """Apply the rules, to ever smaller parts where wetext has no reading for the whole."""
        try:
            # Inside wetext quotes are escaped, and some come out that way.
            return str(_rules().normalize(text)).replace('\\"', '"')
        except AssertionError:  # raised by wetext when no path accepts the text
            words = text.split()
        if len(words) > 1:
            half = len(words) // 2
            parts = [" ".join(words[:half]), " ".join(words[half:])]
        else:
            parts = NUMBER_OR_REST.findall(text)
        if len(parts) < 2:
            return text
        return " ".join(self._spoken(part) for part in parts)


@cache
def _rules() -> "Normalizer":
    """Its import reads the rules of all languages, which takes longer than all else of this room:
    whoever meets no Chinese does without."""
    from wetext import Normalizer

    return Normalizer(lang="zh", operator="tn", remove_erhua=False)


def _address(match: re.Match[str]) -> str:
    return re.sub("^https?://", "", match[0]).translate(ADDRESS_MARKS)


def _drop_blanks(text: str) -> str:
    """Drop each space unless both neighbours are ASCII (between English words)."""
    padded = f" {text} "
    return "".join(
        char
        for before, char, after in zip(padded, text, padded[2:], strict=False)
        if char != " " or (_is_ascii_mark(before) and _is_ascii_mark(after))
    )


def _is_ascii_mark(char: str) -> bool:
    """A tag is one: it stands in ASCII brackets."""
    return (char.isascii() and char != " ") or bool(ANY.match(char))

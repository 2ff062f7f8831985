"""Chinese text as it is spoken, by the rules that upstream's front end uses (wetext)."""

import re

from tritone.frontend.text.english.web import IN_CHINESE
from tritone.frontend.text.placeholders import ANY
from tritone.frontend.text.traced import Change, Seen, Traced, ignore, joined, part_ends
from tritone.frontend.text.wetext_rules import WetextRules

NUMERALS = "0-9零一二三四五六七八九十百千万亿幺两"
POINT_IN_NUMERALS = re.compile(rf"(?<=[{NUMERALS}])\.(?=[{NUMERALS}])")
BRACKETS = str.maketrans(dict.fromkeys("（）【】`", ""))
TRAILING_COMMAS = re.compile("[，,、]+$")
# wetext reads 约1/2 as 二分之约一, so a clause ends there too.
CLAUSE = re.compile(r"(?:(?!约\d+/\d)[^。！？!?；;])*(?:约(?=\d+/\d)|[。！？!?；;]*[”’\"]?)")
ADDRESS_MARKS = str.maketrans(
    {".": "点", "@": " at ", "/": "斜杠", "-": "杠", "_": "下划线", ":": "冒号", "?": "问号"}
)


class ChineseReader:
    """Stateless; safe to use from several threads."""

    def __init__(self) -> None:
        self._rules = WetextRules("zh")

    def __call__(self, text: Traced, seen: Seen = ignore) -> Traced:
        """The spoken form of one line, clause by clause: what is read traces to its clause."""
        text = text.sub(IN_CHINESE, _address, seen, "address")
        clauses = [clause[0] for clause in CLAUSE.finditer(text.text) if clause[0]]
        parts = [self._clause(part, seen) for part in text.split(part_ends(clauses))]
        spoken = joined(parts)
        return spoken.sub(TRAILING_COMMAS, lambda _: "。")

    def _clause(self, text: Traced, seen: Seen) -> Traced:
        spoken = _drop_blanks(self._rules(text.text)).replace("²", "平方").replace("³", "立方")
        spoken = POINT_IN_NUMERALS.sub("点", spoken).replace(".", "。")
        spoken = spoken.replace(" - ", "，").translate(BRACKETS).replace("——", " ")
        if spoken == text.text:
            return text
        seen(Change("wetext", *text.span, text.text, spoken))
        return Traced(spoken, (*[text.origin[0]] * len(spoken), text.origin[-1]))


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

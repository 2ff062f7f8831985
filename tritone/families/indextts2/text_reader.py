"""Written text to the words that the model was taught with."""

import re

from tritone.families.indextts2.text_glossary import Glossary
from tritone.families.indextts2.text_marks import plain_marks, plain_marks_in_chinese
from tritone.families.indextts2.text_pinyin import PINYIN, as_piece
from tritone.frontend.text.placeholders import ANY, Placeholders
from tritone.frontend.text.segment import BLOCK_END, HAN, Language
from tritone.frontend.text.traced import Change, Seen, Traced, ignore, joined
from tritone.frontend.text.wetext_rules import WetextRules

_LETTER = re.compile("[A-Za-z]")
_ADDRESS = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+")
_PRONOUNCED = re.compile(r"<[^<|>\n]+\|[^|>\n]+>")  # <word|pinyin>, kept as it is
_WORD = "x"  # stands for one of those where the language of a text is found
_CONTRACTED = re.compile(
    r"\b(what|who|where|when|why|which|how|here|there|it|he|she|that|this)'s\b", re.IGNORECASE
)
_HAN_RUN = f"{HAN.pattern}+"
_FOREIGN_NAME = re.compile(rf"{_HAN_RUN}(?:[-·—]{{1,2}}{_HAN_RUN})+")  # 约瑟夫·高登-莱维特
_TERM = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")  # GPT-5
# A hyphen in a term, which the rules would read as a minus; they know no other character beside a
# digit than one in brackets.
_HYPHEN = "<H>"
_HYPHEN_READ = re.compile(rf"\s*{_HYPHEN}\s*")


def language_of(text: str) -> Language:
    """Chinese where there is a Chinese character or pinyin, or nothing that English is written
    with: no letters, or a mail address alone."""
    chinese = (
        HAN.search(text)
        or not _LETTER.search(text)
        or _ADDRESS.fullmatch(text)
        or PINYIN.search(text)
    )
    return "zh" if chinese else "en"


class TextReader:
    """Loaded once a process; safe to use from several threads."""

    def __init__(self, glossary: Glossary) -> None:
        self._glossary = glossary
        self._rules = {language: WetextRules(language) for language in ("zh", "en")}

    def __call__(self, text: str, language: Language | None = None) -> str:
        """The spoken form. language: by default found from the text."""
        language = language or language_of(_PRONOUNCED.sub(_WORD, text))
        kept = Placeholders()
        text = ANY.sub(lambda char: kept.keep(char[0]), text)  # of what reads the document
        text = _PRONOUNCED.sub(lambda match: kept.keep(match[0]), text)
        text = _CONTRACTED.sub(r"\1 is", text)
        text = self._glossary(text, language)
        text = _TERM.sub(lambda match: match[0].replace("-", _HYPHEN), text)
        spoken = self._chinese(text, kept) if language == "zh" else self._english(text)
        return kept.restored(Traced.of(spoken)).text

    def _chinese(self, text: str, kept: Placeholders) -> str:
        text = PINYIN.sub(lambda match: kept.keep(as_piece(match[0])), text.rstrip())
        text = _FOREIGN_NAME.sub(lambda match: kept.keep(plain_marks(match[0])), text)
        return plain_marks_in_chinese(_HYPHEN_READ.sub("-", self._rules["zh"](text)))

    def _english(self, text: str) -> str:
        return plain_marks(_HYPHEN_READ.sub("-", self._rules["en"](text)))


class LineReader:
    """A `tritone.frontend.text.normalize.LineReader` of one language; sentence by sentence, so that
    each is traced to where it stands."""

    def __init__(self, read: TextReader, language: Language) -> None:
        self._read, self._language = read, language

    def __call__(self, text: Traced, seen: Seen = ignore) -> Traced:
        ends = [end.end() for end in BLOCK_END.finditer(text.text)]
        return joined([self._sentence(part, seen) for part in text.split(ends)])

    def _sentence(self, text: Traced, seen: Seen) -> Traced:
        words = text.stripped()
        # pinyin is Chinese whatever stands around it
        language = self._language
        if PINYIN.search(_PRONOUNCED.sub(_WORD, words.text)):
            language = "zh"
        spoken = self._read(words.text, language) if words.text else ""
        if spoken == words.text:
            return text
        seen(Change("wetext", *words.span, words.text, spoken))
        start = text.text.index(words.text)
        return text.replaced([(start, start + len(words), spoken)])


def line_readers(glossary: Glossary) -> dict[Language, LineReader]:
    """For the shared text stage."""
    read = TextReader(glossary)
    return {language: LineReader(read, language) for language in ("zh", "en")}

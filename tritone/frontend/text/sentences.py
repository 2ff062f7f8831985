"""Where sentences are complete in a text that is still being written.

A sentence is complete when the next text has begun: only then is known that "3." was no beginning
of 3.14 and "Dr." no title. In doubt it goes on; what is cut here is read as in the whole text.
"""

import re
from collections.abc import Iterator

from tritone.frontend.text.kinds import is_raw, is_ssml
from tritone.frontend.text.line import SENTENCE_END, WRAPPED, Break
from tritone.frontend.text.segment import BLOCK_CHARACTERS
from tritone.frontend.text.tables import table

ABBREVIATIONS = frozenset(written.lower() for written, *_ in table("abbreviations"))
_WIDE = r"[。！？]+[”’」』）]*"  # nothing need follow but a next character
_NARROW = r"[.!?…]+[\"”’')\]*_]*(?=[ \t])"
_ENDS = re.compile(rf"{_WIDE}|{_NARROW}|\n")
_LAST_WORD = re.compile(r"[\w.]+$")
_ITEM_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,9}$")
_LINE_MARK = re.compile(r"[-*+>#|]|\d{1,9}[.)]\s|```|~~~")
_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)


def complete(text: str) -> int:
    """How many characters of a text are sentences that nothing that follows can change."""
    return max(sentence_ends(text), default=0)


def sentence_ends(text: str) -> Iterator[int]:
    """Where each of those sentences ends."""
    if is_ssml(text) or is_raw(text):
        return
    done = 0
    for end in _ENDS.finditer(text):
        after = text[end.end() :].lstrip()
        if not after:
            break
        ended = _ends_line if "\n" in end[0] else _ends_sentence
        if ended(text, end, after) and closed(text[done : end.end()]):
            done = end.end()
            yield done


def break_between(before: str, after: str) -> Break:
    """The break between two parts of one text, whose blanks they keep."""
    if not before:
        return Break.NONE
    blanks = before[len(before.rstrip()) :] + after[: len(after) - len(after.lstrip())]
    if blanks.count("\n") > 1:
        return Break.PARAGRAPH
    if "\n" in blanks:
        return Break.ITEM
    return Break.SENTENCE if SENTENCE_END.search(before.rstrip()) else Break.NONE


def _ends_sentence(text: str, end: re.Match[str], after: str) -> bool:
    if end[0][0] in "。！？":
        return True
    if after[0].islower():
        return False
    if end[0][0] != "." or end[0].startswith(".."):
        return True
    before = text[: end.start()]
    word = _LAST_WORD.search(before)
    if word is None or _ITEM_NUMBER.search(before):
        return False
    written = word[0].strip(".")
    if after[0].isdigit() and len(written) < 4 and not written.isdigit():
        return False  # No. 5
    single = len(written) == 1 and written.isalpha() and written != "I"
    return not (single or "." in written or written.lower() in ABBREVIATIONS)


def _ends_line(text: str, end: re.Match[str], after: str) -> bool:
    """As Markdown is read here: a line that is wrapped goes on in the next one."""
    between = text[end.end() : len(text) - len(after)]
    line = text[text.rfind("\n", 0, end.start()) + 1 : end.start()].strip()
    if line.startswith("|") and after.startswith("|"):
        return False  # a table is read as one
    if "\n" in between or _LINE_MARK.match(after):
        return True
    wrapped = len(line) >= WRAPPED and not SENTENCE_END.search(line)
    return not (wrapped or after[0].islower())


def closed(part: str) -> bool:
    """Whether no emphasis, code, link or tag of it is still open, or none that ever closes."""
    return len(part) > BLOCK_CHARACTERS or not (
        part.count("**") % 2
        or len(_FENCE.findall(part)) % 2
        or part.replace("```", "").count("`") % 2
        or part.count("[") > part.count("]")
        or part.rfind("<") > part.rfind(">")
    )

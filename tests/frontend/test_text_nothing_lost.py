"""No plain word of a text is missing from what is spoken, whatever stands around it."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st
from spoken_forms import rows

from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.kinds import is_raw
from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.segment import is_speakable

WORDS = [
    "apple",
    "river",
    "quickly",
    "house",
    "runs",
    "over",
    "green",
    "mountain",
    "people",
    "think",
    "about",
    "music",
    "every",
    "morning",
    "small",
    "garden",
    "window",
    "bright",
    "letter",
    "winter",
    "story",
    "paper",
    "simple",
    "water",
    "answer",
    "question",
    "table",
]
WRITTEN = [written for language, written, _ in rows("pairs.tsv") if language == "en"]
PIECES = [
    "example.com",
    "Dr.",
    "3.14",
    "$49.95",
    "24/7",
    "1980s",
    "No.",
    "100m",
    "**b**",
    "_i_",
    "`c`",
    "<b>x</b>",
    "&amp;",
    "#tag",
    "@who",
    "https://a.b/c?d=e",
    "a@b.co",
    "10:30",
    "p.m.",
    "7/4/2023",
    "VIII",
    "NASA",
    "...",
    "—",
    "–",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "*",
    "+",
    "=",
    "<",
    ">",
    "|",
    "\\",
    "^",
    "~",
    "/",
    "1/2",
    "2.0.1",
    "192.168.0.1",
    "50%",
    "°C",
    "€15",
    "😊",
    "™",
    "½",
    "5kg",
    "6'2\"",
    "[x](http://y.z)",
    "-",
    "1.",
    "###",
    "\n",
    "\n\n",
    "U.S.",
    "e.g.",
    "St.",
    "9am-5pm",
    "3-1",
    "16:9",
    "401(k)",
    "ab9453",
    "GPT-4o",
    "4x",
    "~5",
    ">10",
    "<br>",
    "1e6",
    "007",
    "+1",
    "(555)",
    "x^2",
    "m²",
    "№",
    "§",
    "•",
    "→",
    "“q”",
    "…",
    "!!!",
    "?!",
    ";",
    ":",
    ",",
    ".",
    "$",
    "€",
    "&",
    "@",
    "#",
    "C++",
    "C:\\x",
    "/usr/bin",
]
normalize = TextNormalizer(TAGS)

plain_words = st.sampled_from(WORDS).flatmap(
    lambda word: st.sampled_from([word, word, word.capitalize(), f"{word},", f"{word}."])
)
texts = st.lists(plain_words | st.sampled_from(PIECES + WRITTEN), min_size=2, max_size=14)


def missing(text: str, spoken: str) -> str | None:
    """The first plain word of the text that is not spoken, in order."""
    heard = iter(re.findall(r"[a-z']+", spoken.lower()))
    wanted = (token.strip(",.").lower() for token in text.split(" "))
    return next((w for w in wanted if w in WORDS and w not in heard), None)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(texts)
@example(["Dr.", "Smith", "3.14", "dollars", "at", "example.com.", "Thanks", "a", "lot!"])
@example(["apple", "{", '"', "}", "tokens", "{", "name:", '"river"', "}"])
@example(["apple", "(555) 123-4567", "river"])
@example(["apple", "\n", "```", "river"])
@example(["apple", "100", "m", "river", "5", "in", "water"])
def test_plain_words_around_hard_pieces(pieces: list[str]) -> None:
    text = " ".join(pieces)
    assert missing(text, normalize(text)) is None


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(max_size=40))
@example("![](")
@example("<a href=b>c")
@example("&#x0; &#xd800; &#1114112;")
def test_any_text_has_words_where_it_has_letters(text: str) -> None:
    spoken = normalize(text)
    assert is_raw(text) or not re.search("[0-9]", spoken)
    if re.search("[a-z0-9\u4e00-\u9fa5]", text) and not re.search("[<&`]", text):
        assert is_speakable(spoken)

import json
import unicodedata

import pytest
from frontend_fixtures import FRONTEND_GOLDEN

from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.kinds import is_raw
from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.segment import block_ends
from tritone.frontend.text.traced import Traced
from tritone.frontend.text.typography import clean, composed

CASES = json.loads((FRONTEND_GOLDEN / "text_normalize.json").read_text(encoding="utf-8"))["cases"]
# What upstream leaves of these has nothing to say, or is a comma of another width.
DIFFERENT = {
    "。！？": "",
    "（）": "",
    "¥100，$5，50%": "one hundred yen,five dollars,fifty percent",
}
normalize = TextNormalizer(TAGS)


@pytest.mark.parametrize("case", CASES, ids=[case["text"][:12] for case in CASES])
def test_equals_upstream_where_it_does_not_raise(case: dict) -> None:
    expected = case["nosplit/wetext"]
    expected = DIFFERENT.get(case["text"], expected if isinstance(expected, str) else "")
    assert normalize(case["text"]) == expected


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("价格是3.5元", "价格是三点五元"),
        ("版本2.5，v1.2.3", "版本二点五，v一点二点三"),
        ("结束.", "结束。"),
        ("约1/2的人，约3个", "约二分之一的人，约三个"),
        ("发邮件到a@b.com，看https://a.cn/x。去B", "发邮件到a at b点com，看a点cn斜杠x。去B"),
        ("Pay $3.50 now", "Pay three dollars fifty cents now"),
        ('say "5" twice', "say five twice"),
        ("a  b\n\n c\t3", "a b c three"),
        ("AT&T's #1", "A T and T's number one"),
        ("5½", "five and a half"),
        ("٣ １２", "three twelve"),
        ("はは3", "はは three"),
        ("hi [quick_breath] 5 <strong>x</strong>", "hi [quick_breath] five <strong>x</strong>"),
        ("你好[quick_breath]3个", "你好[quick_breath]三个"),
        ("第一行3个\nThe 2nd line", "第一行三个The second line"),
        ("$3-5 per unit", "three to five dollars per unit"),
        ("$5k-$10k", "five thousand dollars to ten thousand dollars"),
        ("a 30s timeout in the 30s", "a thirty seconds timeout in the thirties"),
        ("2h 30m at 4 GB/s", "two hours thirty minutes at four gigabytes per second"),
        ("5 sq ft, 5 in the bag", "five square feet, five in the bag"),
        ("PIN 1234, room 4B", "PIN one two three four, room four B"),
        ("6 x 7 = 42", "six times seven equals forty two"),
        ("odds of 3:1 at 3:01", "odds of three to one at three o one"),
        ("7 a.m.–9 p.m.", "seven A M to nine P M."),
        ("J.K. Rowling of the U.S.", "J K Rowling of the U S."),
        ("12 Main St. It is near St. Paul.", "twelve Main street. It is near saint Paul."),
        ("Louis XIV and Part II", "Louis the fourteenth and Part two"),
        ("USB Type C, Part X, Malcolm X", "U S B Type C, Part ten, Malcolm X"),
        ("Thomas V. Smith met Henry V", "Thomas V. Smith met Henry the fifth"),
        ("We live on Elm St. It is quiet.", "We live on Elm street. It is quiet."),
        ("Visit St. Paul and Lake St. Clair.", "Visit saint Paul and Lake saint Clair."),
        ("Wow!!! Really?! Yes...", "Wow! Really? Yes."),
        ("C:\\Users\\me", "C: Users me"),
    ],
)  # fmt: skip
def test_own_rules(text: str, spoken: str) -> None:
    assert normalize(text) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("STOP! Do NOT touch.", "stop! Do not touch."),
        ("THIS IS A TEST OF IT", "this is a test of it"),
        ("WHO and NASA met IT staff of the EU", "W H O and NASA met I T staff of the E U"),
        ("the CEO's PCs", "the C E O's P C's"),
        ("RAMESH got an HTTPS JPEG", "ramesh got an H T T P S JPEG"),
    ],
)
def test_capitals(text: str, spoken: str) -> None:
    assert normalize(text) == spoken


def test_explains_which_rule_read_what() -> None:
    explained = normalize.explain("It cost $5k on **July 4** at NBC. ```x```")
    changes = {(c.rule, c.before, c.after) for c in explained.changes}
    assert ("scale", "$5k", "5 thousand dollars") in changes
    assert ("capitals", "NBC", "N B C") in changes
    date = next(c for c in explained.changes if c.rule == "date")
    assert (date.start, date.end, date.after) == (17, 25, "july fourth")


def test_text_with_control_marks_is_left_alone() -> None:
    assert is_raw("<|en|> 3 apples")
    assert normalize(" <|en|> 3 apples ") == "<|en|> 3 apples"


def test_control_and_private_characters_are_dropped() -> None:
    assert clean(Traced.of("a\x07b\u200bc\ue000d\ufeffe\u202ef")).text == "abcdef"
    cleaned = clean(Traced.of("a\r\nb\u00a0c\u2028d"))
    assert cleaned.text == "a\nb c\nd"
    assert cleaned.origin == (0, 1, 3, 4, 5, 6, 7, 8)


def test_blanks_beside_a_tag_in_chinese_stay_as_upstream_leaves_them() -> None:
    assert normalize("他说 hello [laughter] world") == "他说hello [laughter] world"
    assert normalize("你好 [breath] 再见") == "你好[breath]再见"


def test_letters_with_marks_are_composed_and_keep_their_places() -> None:
    every = "".join(chr(code) for code in range(0x12000) if not 0xD800 <= code < 0xE000)
    decomposed = unicodedata.normalize("NFD", every)
    assert composed(Traced.of(decomposed)).text == unicodedata.normalize("NFC", every)
    read = composed(Traced.of("xe\u0301\u0323ye\u0301"))
    assert read.text == "x\u1eb9\u0301y\u00e9"
    assert read.origin == (0, 1, 1, 4, 5, 7)
    tagged = TextNormalizer(tags=("[é]",))
    assert tagged("5 [e\u0301]") == "five [é]"


def test_blocks_end_at_sentences_and_keep_all_text() -> None:
    text = "It cost 2.5 dollars. Dr. Brown paid on 5.6.2024. " * 40
    parts = [part.text for part in Traced.of(text).split(block_ends(text, size=100))]
    assert "".join(parts) == text
    assert all(len(part) < 160 for part in parts)
    assert all(part.endswith(("dollars. ", "2024. ")) for part in parts)
    assert list(block_ends("no end " * 60, size=100)) == [297]
    assert list(block_ends("x" * 700, size=100)) == [300, 600]

import json
import random
import re

import pytest
from frontend_fixtures import FRONTEND_GOLDEN

from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.normalize import TextNormalizer, blocks, clean, is_raw
from tritone.frontend.text.segment import is_speakable

CASES = json.loads((FRONTEND_GOLDEN / "text_normalize.json").read_text(encoding="utf-8"))["cases"]
normalize = TextNormalizer(TAGS)


@pytest.mark.parametrize("case", CASES, ids=[case["text"][:12] for case in CASES])
def test_equals_upstream_where_it_does_not_raise(case: dict) -> None:
    expected = case["nosplit/wetext"]
    assert normalize(case["text"]) == (expected if isinstance(expected, str) else "")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("价格是3.5元", "价格是三点五元"),
        ("版本2.5，v1.2.3", "版本二点五，v一点二点三"),
        ("结束.", "结束。"),
        ("Pay $3.50 now", "Pay three point five dollars now"),
        ('say "5" twice', 'say "five" twice'),
        ("a  b\n\n c\t3", "a b c three"),
        ("AT&T's #1", "AT and T's number one"),
        ("5½", "five one half"),
        ("٣ １２", "three twelve"),
        ("はは3", "はは three"),
        ("hi [quick_breath] 5 <strong>x</strong>", "hi [quick_breath] five <strong>x</strong>"),
        ("你好[quick_breath]3个", "你好[quick_breath]三个"),
    ],
)
def test_own_rules(text: str, spoken: str) -> None:
    assert normalize(text) == spoken


def test_text_with_control_marks_is_left_alone() -> None:
    assert is_raw("<|en|> 3 apples")
    assert normalize(" <|en|> 3 apples ") == "<|en|> 3 apples"


def test_control_and_private_characters_are_dropped() -> None:
    assert clean("a\x07b\u200bc\ue000d\ufeffe\u202ef") == "abcdef"
    assert clean("a\r\nb\u00a0c\u2028d") == "a\nb c\nd"


def test_any_text_gives_words_without_digits() -> None:
    marks = list(
        "ab Z9 0.5,:;!?-+*/\\'\"()[]{}<>|&%$#@^~`=_中文年月元。，！？：（）²½①Ⅷ٣é😀\n\t\x00\ud800"
    )
    source = random.Random(7)
    for _ in range(300):
        text = "".join(source.choices(marks, k=source.randint(0, 30)))
        spoken = normalize(text)
        assert not re.search(r"\d", spoken) or is_raw(clean(text)), text
        if re.search("[a-z0-9中文年月元]", text):
            assert is_speakable(spoken), text


def test_blocks_end_at_sentences_and_keep_all_text() -> None:
    text = "It cost 2.5 dollars. Dr. Brown paid on 5.6.2024. " * 40
    parts = list(blocks(text, size=100))
    assert "".join(parts) == text
    assert all(len(part) < 160 for part in parts)
    assert all(part.endswith(("dollars. ", "2024. ")) for part in parts)
    assert list(blocks("no end " * 200, size=100)) == ["no end " * 200]

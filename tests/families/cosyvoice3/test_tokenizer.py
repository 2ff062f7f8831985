"""CosyVoice3's tokens beside Qwen2's vocabulary."""

import json
import unicodedata
from pathlib import Path

import pytest
from cosyvoice3_frontend_fixtures import END_OF_PROMPT_ID, OFFSET, byte_model
from parity.cosyvoice3_frontend import LAYOUTS
from paths import GOLDEN

from tritone.families.cosyvoice2.released_tokenizer import END_OF_PROMPT
from tritone.families.cosyvoice3.released_tokenizer import ADDED, END_OF_SYSTEM, TAGS
from tritone.frontend.text.tokenizer import TextTokenizer

TABLE = json.loads((GOLDEN / "cosyvoice3" / LAYOUTS).read_text("utf-8"))["special_tokens"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return TextTokenizer(byte_model(tmp_path, cloning=False)[0] / "tokenizer.json")


def test_tokens_are_added_in_upstreams_order() -> None:
    added = [entry for entry in TABLE if entry["id"] >= 151646]
    assert list(ADDED) == [entry["token"] for entry in added]
    assert [entry["id"] for entry in added] == list(range(151646, 151924))


def test_what_a_user_may_write_is_one_token_and_control_tokens_are_letters(
    tokenizer: TextTokenizer,
) -> None:
    assert tokenizer.size == OFFSET
    ids = {token: END_OF_PROMPT_ID + i for i, token in enumerate(ADDED)}
    assert [tokenizer.encode(tag) for tag in TAGS] == [[ids[tag]] for tag in TAGS]
    assert set(ADDED) - set(TAGS) == {END_OF_PROMPT, END_OF_SYSTEM}
    for control in (END_OF_PROMPT, END_OF_SYSTEM, "<|im_start|>"):
        assert max(tokenizer.encode(f"a{control}b")) < 264


def test_all_are_composed() -> None:
    assert [token for token in ADDED if not unicodedata.is_normalized("NFC", token)] == []

import json
from pathlib import Path

import pytest
from frontend_fixtures import END_OF_PROMPT_ID, FRONTEND_GOLDEN, GOLDEN
from tokenizers import Tokenizer

from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_tokenizer import END_OF_PROMPT, TAGS, build_base_tokenizer
from tritone.frontend.text.tokenizer import TextTokenizer

BLANK_EN = FRONTEND_GOLDEN / "llm_tiny" / "CosyVoice-BlankEN"
CONTROL = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", END_OF_PROMPT),
    *("<|sos|>", "<|task_id|>", "<|s_12|>", "<|eos1|>"),
)


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    build_base_tokenizer(BLANK_EN).save(str(tmp_path / "tokenizer.json"))
    return TextTokenizer(tmp_path / "tokenizer.json")


def test_added_tokens_follow_the_base_vocabulary_in_upstreams_order(
    tokenizer: TextTokenizer,
) -> None:
    """The tiny base ends at 266, the released one at 151645; what follows has the same order."""
    assert tokenizer.control_id("<|endoftext|>") == 264
    assert tokenizer.control_id(END_OF_PROMPT) == END_OF_PROMPT_ID
    assert [tokenizer.encode(tag) for tag in TAGS] == [[268 + i] for i in range(16)]
    assert tokenizer.size == 284
    layout = json.loads((FRONTEND_GOLDEN / "token_layout.json").read_text(encoding="utf-8"))
    released = {tag: layout["special"][tag] for tag in (END_OF_PROMPT, *TAGS)}
    assert list(released.values()) == list(range(151646, 151663))


def test_byte_level_bpe(tokenizer: TextTokenizer) -> None:
    vocab = json.loads((BLANK_EN / "vocab.json").read_text(encoding="utf-8"))
    assert tokenizer.encode("the then") == [vocab["the"], vocab["Ġthe"], vocab["n"]]
    assert tokenizer.encode("12") == [vocab["1"], vocab["2"]]
    assert tokenizer.encode("e\u0301") == tokenizer.encode("é")  # NFC
    assert tokenizer.encode("") == []


@pytest.mark.parametrize("control", CONTROL)
def test_control_tokens_in_text_are_characters(tokenizer: TextTokenizer, control: str) -> None:
    ids = tokenizer.encode(f"a{control}b")
    assert max(ids) < 264
    assert tokenizer.decode(ids) == f"a{control}b"


def test_tags_keep_their_ids_inside_text(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("他[laughter]<strong>好</strong>")
    assert [i for i in ids if i >= 264] == [272, 269, 270]
    assert tokenizer.decode(ids) == "他[laughter]<strong>好</strong>"


def test_a_ready_tokenizer_is_taken_with_its_ids(tmp_path: Path) -> None:
    build_base_tokenizer(GOLDEN / "phoneme_voice").save(str(tmp_path / "tokenizer.json"))
    tokenizer = TextTokenizer(tmp_path / "tokenizer.json")
    assert tokenizer.encode("Ab, c") == [6, 7, 2, 1, 8]
    assert tokenizer.knows("\ue021")
    assert not tokenizer.knows("é")


def test_tags_marked_special_in_a_ready_tokenizer_become_text(tmp_path: Path) -> None:
    state = json.loads(build_base_tokenizer(BLANK_EN).to_str())
    for token in state["added_tokens"]:
        token["special"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    build_base_tokenizer(tmp_path).save(str(tmp_path / "ours.json"))
    assert TextTokenizer(tmp_path / "ours.json").encode("[laughter]") == [272]


def test_a_merged_tokenizer_is_refused(tmp_path: Path) -> None:
    tokenizer = build_base_tokenizer(BLANK_EN)
    tokenizer.add_tokens(["<|s_0|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelDirectoryError, match=r"<\|s_0\|> is not marked special"):
        TextTokenizer(tmp_path / "tokenizer.json")


def test_missing_and_damaged_files_are_named(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    with pytest.raises(ModelDirectoryError, match=r"nothing\.json does not exist"):
        TextTokenizer(tmp_path / "nothing.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ModelDirectoryError, match=r"bad\.json: not a tokenizer file"):
        TextTokenizer(tmp_path / "bad.json")
    with pytest.raises(ModelDirectoryError, match=r"vocab\.json does not exist"):
        build_base_tokenizer(tmp_path / "empty")
    with pytest.raises(ModelDirectoryError, match=r"lacks <\|nope\|>"):
        tokenizer.control_id("<|nope|>")


def test_a_vocabulary_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((BLANK_EN / name).read_bytes())
    config = {"added_tokens_decoder": {"151643": {"content": "<|endoftext|>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelDirectoryError, match="gets id 264"):
        build_base_tokenizer(tmp_path)


def test_the_saved_file_is_plain_json(tmp_path: Path) -> None:
    tokenizer = build_base_tokenizer(BLANK_EN)
    assert isinstance(tokenizer, Tokenizer)
    special = {
        token["content"]
        for token in json.loads(tokenizer.to_str())["added_tokens"]
        if token["special"]
    }
    assert special == {"<|endoftext|>", "<|im_start|>", "<|im_end|>", END_OF_PROMPT}

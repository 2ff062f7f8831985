"""Pieces of text: SentencePiece's own, and how they make segments."""

import json
import random
from pathlib import Path

import pytest
from indextts2_front import GOLDEN

from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.text_segments import segments
from tritone.families.indextts2.text_tokenizer import PieceTokenizer, spaced

MODEL = GOLDEN / "pieces.model"
CASES = json.loads((GOLDEN / "pieces.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer() -> PieceTokenizer:
    return PieceTokenizer(MODEL)


def test_ids_are_those_that_the_release_was_trained_on(tokenizer: PieceTokenizer) -> None:
    """Ties and unknown characters among them, and what the table of characters replaces."""
    cases = CASES["cases"]
    wrong = [line for line, ids in cases if list(tokenizer.raw(line).ids) != ids]
    assert len(cases) > 250 and not wrong


def test_pieces_are_the_text(tokenizer: PieceTokenizer) -> None:
    texts, ids = tokenizer("你好, the birch 🙂🙂 canoe")
    assert "".join(texts) == "▁你▁好▁,▁THE▁BIRCH▁🙂🙂▁CANOE"
    vocabulary = CASES["vocab"]
    assert all(vocabulary[id] in (text, "<unk>") for text, id in zip(texts, ids, strict=True))


def test_nothing_has_no_pieces(tokenizer: PieceTokenizer) -> None:
    assert list(tokenizer("").ids) == list(tokenizer(" \t ").ids) == []


def test_one_character_is_taken_as_it_is(tokenizer: PieceTokenizer) -> None:
    assert "".join(tokenizer("a").texts) == "▁a" and "".join(tokenizer("aa").texts) == "▁AA"


def test_characters_of_their_own_are_spaced() -> None:
    assert spaced(" 你好, it's 한글 ok ") == "你 好 , IT'S 한 글 OK"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"\xff" * 40,
        lambda data: data.replace(b"<unk>\x15\0\0\0\0\x18\x02", b"<unk>\x15\0\0\0\0\x18\x03"),
        lambda data: b"not a model at all",
    ],
    ids=["half", "endless number", "nothing unknown", "text"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage) -> None:
    path = tmp_path / "bpe.model"
    path.write_bytes(damage(MODEL.read_bytes()))
    with pytest.raises(ModelDirectoryError, match=r"bpe\.model"):
        PieceTokenizer(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"bpe\.model: cannot be read"):
        PieceTokenizer(tmp_path / "bpe.model")


def hard_pieces(count: int, seed: int) -> list[str]:
    choice = random.Random(seed)
    return choice.choices(["▁a", "b", ",", "▁,", ".", "▁?", "-", "'", "▁...", "!"], k=count)


@pytest.mark.parametrize("longest", [6, 20, 120])
@pytest.mark.parametrize("opening", [0, 15])
def test_segments_keep_every_piece_in_order(longest: int, opening: int) -> None:
    for seed in range(20):
        pieces = hard_pieces(150, seed)
        found = segments(pieces, longest, opening)
        said = [piece for part in found for piece in part if piece != "'"]
        assert said == [piece for piece in pieces if piece != "'"]
        # a quote that closes a sentence may be one too many
        assert all(0 < len(part) <= longest + 1 for part in found)


def test_a_quote_closes_one_segment_and_opens_the_next() -> None:
    pieces = ["▁a", "b", "b", ".", "'", "▁a", "b", "b", "."]
    assert segments(pieces, 6) == [pieces[:5], pieces[4:]]


def test_nothing_has_no_segments() -> None:
    assert segments([]) == []

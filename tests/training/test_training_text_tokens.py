"""The phoneme vocabulary: what its tokens are made of, where they end, how they are spelled."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.config import TextConfig
from training.speech import symbols
from training.text_tokens import LONGEST, PUNCTUATION, TextTokens, train_tokenizer


def spelled(phonemes: str) -> str:
    return "".join(symbols().get(c, c) for c in phonemes)


TEXTS = [
    spelled(text)
    for text in (
        "ðə kˈæt sˈæt ˌɔn ðə mˈæt.",
        "ɪz ðə kˈæt hˈɪɹ, ɔɹ ɪz ɪt ðˈɛɹ?",
        "ðə mˈæt ɪz hˈɪɹ!",
        "ˌɪntəɹnˈæʃənᵊl ˌɪntəɹnˈæʃənᵊl ˌɪntəɹnˈæʃənᵊl.",
    )
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tokenizer.json"
    train_tokenizer(TEXTS * 5, TextConfig(vocabulary=120, rarest=2), path)
    return path


@pytest.fixture(scope="module")
def vocabulary(path: Path) -> dict[str, int]:
    found: dict[str, int] = Tokenizer.from_file(str(path)).get_vocab()
    return found


def character_ends(text: str) -> NDArray[np.float32]:
    """A different end for each character, so that a wrong one shows."""
    return (np.arange(len(text)) + 1).astype(np.float32) ** 2


def test_every_symbol_is_a_token(vocabulary: dict[str, int]) -> None:
    assert {" ", *PUNCTUATION, *symbols().values()} <= set(vocabulary)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_words_carry_their_leading_space(vocabulary: dict[str, int]) -> None:
    merged = [token for token in vocabulary if len(token) > 1]
    assert spelled(" ðə") in merged and spelled(" kˈæt") in merged
    assert all(" " not in token[1:] for token in merged)
    assert not any(mark in token for token in merged for mark in PUNCTUATION)
    assert max(map(len, merged)) <= LONGEST


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("text", TEXTS)
def test_a_token_ends_with_its_last_character(
    text: str, dropout: float, path: Path, vocabulary: dict[str, int]
) -> None:
    token_of = {row: token for token, row in vocabulary.items()}
    ids, ends = TextTokens(path, dropout).encode(text, character_ends(text))
    assert ids.dtype == np.int64 and len(ids) == len(ends)
    pieces = [token_of[row] for row in ids.tolist()]
    assert "".join(pieces) == " " + text
    after = np.cumsum([len(piece) for piece in pieces]) - 1  # characters of `text`, space taken off
    wanted = character_ends(text)[np.maximum(after, 1) - 1]
    assert np.array_equal(ends, wanted)


def test_dropout_gives_other_pieces_of_the_same_text(path: Path) -> None:
    whole, dropping = TextTokens(path), TextTokens(path, 0.5)
    text, ends = TEXTS[0], character_ends(TEXTS[0])
    first = whole.encode(text, ends)[0].tolist()
    assert first == whole.encode(text, ends)[0].tolist()
    drawn = [dropping.encode(text, ends)[0].tolist() for _ in range(10)]
    assert len({tuple(ids) for ids in drawn}) > 3
    assert all(len(ids) > len(first) for ids in drawn if ids != first)


def test_spelling_says_which_token_a_row_is(path: Path, vocabulary: dict[str, int]) -> None:
    tokens = TextTokens(path)
    assert tokens.size == len(vocabulary)
    rows = tokens.spelling().view(tokens.size, LONGEST, -1)
    characters = sorted({c for token in vocabulary for c in token})
    assert set(rows.flatten().tolist()) == {0.0, 1.0} and rows.shape[2] == len(characters)
    for token, row in vocabulary.items():
        assert torch.equal(rows[row].sum(dim=1), (torch.arange(LONGEST) < len(token)).float())
        found = "".join(characters[i] for i in rows[row, : len(token)].argmax(dim=1).tolist())
        assert found == token

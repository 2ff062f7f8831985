"""The text vocabulary: byte-pair encoding over phoneme characters.

Merged tokens, about one and a half a word, keep the text ahead of the speech when five text tokens
alternate with fifteen speech tokens (0.6 s), which single phonemes would not.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import BPE
from tokenizers.normalizers import Prepend
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from training.config import TextConfig
from training.speech import symbols
from tritone.checkpoints.atomic_write import written_whole

PUNCTUATION = ",.?!"
LONGEST = 8  # characters of a token that its embedding can spell


def train_tokenizer(texts: Iterable[str], config: TextConfig, path: Path) -> None:
    """Write tokenizer.json: words carry their leading space, punctuation stands alone."""
    alphabet = [" ", *PUNCTUATION, *symbols().values()]
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = Prepend(" ")
    pattern = f" ?[^ {PUNCTUATION}]+|[{PUNCTUATION}]| "
    tokenizer.pre_tokenizer = Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = Fuse()
    trainer = BpeTrainer(
        vocab_size=config.vocabulary,
        min_frequency=config.rarest,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        max_token_length=LONGEST,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    with written_whole(path) as partial:
        tokenizer.save(str(partial))


class TextTokens:
    """Encodes a text, at random into smaller pieces too, and says when each token ends."""

    def __init__(self, path: Path, dropout: float = 0.0) -> None:
        """dropout: chance that a merge is left out (BPE-dropout, Provilkov et al. 2020)."""
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.model.dropout = dropout or None
        self.size = int(self._tokenizer.get_vocab_size())

    def lacks(self, tokens: Iterable[str]) -> bool:
        return any(self._tokenizer.token_to_id(token) is None for token in tokens)

    def encode(
        self, text: str, ends: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """ids (n,) and their ends (n,), given the ends of the characters."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        last = np.array([max(end, 1) - 1 for _, end in encoding.offsets])
        return np.array(encoding.ids, np.int64), ends[last]

    def spelling(self) -> Tensor:
        """(size, LONGEST * characters) one-hot rows: which character stands where in a token.

        Added tokens have no sound, and rows of zeros.
        """
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        characters = sorted({c for token in vocabulary for c in token})
        index = {c: i for i, c in enumerate(characters)}
        rows = torch.zeros(self.size, LONGEST, len(characters))
        for token, row in vocabulary.items():
            for place, character in enumerate(token):
                rows[row, place, index[character]] = 1.0
        return rows.flatten(1)

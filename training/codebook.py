"""Speech codes in groups: tables of few rows, for a checkpoint of few megabytes.

A tokenizer tells 6561 codes apart. Here the values that it rounds to digits are clustered instead,
and a token is the number of the nearest centre.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from torch import Tensor

from training.fsq import BOUND, codes_of
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice3.rules import SILENT

BOOK_NAME = "book.npy"  # in the folder of the codes
SAMPLE = 60_000  # tokens that the centres are found from
ROUNDS = 15


@dataclass(frozen=True)
class CodeBook:
    """centres: (codes, 8) of the tokenizer's values between -1 and 1."""

    centres: Tensor

    @classmethod
    def found(cls, values: Tensor, level: NDArray[np.float32], codes: int) -> "CodeBook":
        """values (tokens, 8), between -1 and 1; level (tokens,) how loud each is.

        The quietest codes get the numbers that are silent ones in CosyVoice3, which cuts pauses
        short by them.
        """
        chosen = np.random.default_rng(0).permutation(len(values))[:SAMPLE]
        points = values.numpy()[chosen].astype(np.float64)
        centres, members = kmeans2(points, codes, ROUNDS, minit="points", seed=0)
        count = np.maximum(np.bincount(members, minlength=codes), 1)
        loudness = np.bincount(members, level[chosen], codes) / count
        loudness[np.bincount(members, minlength=codes) == 0] = np.inf
        quiet_first = np.argsort(loudness, kind="stable")
        silent = SILENT[codes > SILENT]
        order = np.empty(codes, np.int64)
        order[silent] = quiet_first[: len(silent)]
        order[np.setdiff1d(np.arange(codes), silent)] = np.sort(quiet_first[len(silent) :])
        return cls(torch.from_numpy(centres[order]).float())

    @classmethod
    def read(cls, work: Path) -> "CodeBook":
        return cls(torch.from_numpy(np.load(work / "codes" / BOOK_NAME)))

    def write(self, work: Path) -> None:
        path = work / "codes" / BOOK_NAME
        with written_whole(path) as partial, partial.open("wb") as file:
            np.save(file, self.centres.numpy())

    def assign(self, values: Tensor) -> Tensor:
        """(..., 8) values between -1 and 1 -> (...) numbers of the nearest centres."""
        scores = 2 * values @ self.centres.T - self.centres.square().sum(dim=1)
        return scores.argmax(dim=-1)

    @property
    def nearest(self) -> Tensor:
        """(codes,) the tokenizer's own code that each centre would be."""
        return codes_of(self.centres)


def bounded(hidden: Tensor) -> Tensor:
    """The tokenizer's output as its rounding sees it."""
    return hidden.tanh() * BOUND

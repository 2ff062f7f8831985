"""Texts and codes as the language model sees them: rows of ids, and what follows each of them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.language_model import END, FILL, Batch

MIX_TEXT, MIX_SPEECH = 5, 15
TEXT, SPEECH, MARK = 0, 1, 2
SOS, TASK = 0, 1

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """Texts and codes of one or several utterances joined.

    text (n,) ids; spoken (m,) index of the text token said at each code; codes (m,);
    silent: leading codes that are a prompt and not learned.
    """

    text: Ints
    spoken: Ints
    codes: Ints
    silent: int


class Sequence:
    """Builds the four rows of one example."""

    def __init__(self) -> None:
        self.kind: list[int] = []
        self.ids: list[int] = []
        self.target: list[int] = []
        self.aligned: list[tuple[int, int]] = []
        self._text_at: list[int] = []

    def mark(self, which: int) -> None:
        self._add(MARK, which)

    def lead(self, ids: tuple[int, ...]) -> None:
        """Text that is not spoken."""
        for value in ids:
            self._add(TEXT, value)

    def text(self, ids: Ints) -> None:
        for value in ids:
            self._text_at.append(len(self.ids))
            self._add(TEXT, int(value))

    def speech(self, example: Example, begin: int, end: int, stop: int) -> None:
        """Codes begin .. end, then `stop` as the last target."""
        targets = [*example.codes[begin:end].tolist(), stop]
        for offset, target in enumerate(targets):
            learned = begin + offset >= example.silent
            if learned:
                self.target[-1] = target
                self.aligned[-1] = self._positions(example, begin + offset)
            if offset < end - begin:
                self._add(SPEECH, target)

    def _positions(self, example: Example, code: int) -> tuple[int, int]:
        if code >= len(example.spoken):
            return -1, -1
        index = int(example.spoken[code])
        known = len(self._text_at)
        now = self._text_at[index] if index < known else -1
        return now, self._text_at[index + 1] if index + 1 < known else -1

    def _add(self, kind: int, value: int) -> None:
        self.kind.append(kind)
        self.ids.append(value)
        self.target.append(-1)
        self.aligned.append((-1, -1))


@dataclass(frozen=True)
class Order:
    """lead: ids before every text. end, fill: speech rows that stand for them."""

    lead: tuple[int, ...] = ()
    end: int = END
    fill: int = FILL


COSYVOICE2 = Order()


def plain(example: Example, order: Order = COSYVOICE2) -> Sequence:
    """sos, lead, all text, task_id, all speech, end."""
    sequence = Sequence()
    sequence.mark(SOS)
    sequence.lead(order.lead)
    sequence.text(example.text)
    sequence.mark(TASK)
    sequence.speech(example, 0, len(example.codes), order.end)
    return sequence


def interleaved(example: Example, order: Order = COSYVOICE2) -> Sequence:
    """Five text, fifteen speech and so on (CosyVoice2); a fill token asks for more text."""
    sequence = Sequence()
    sequence.mark(SOS)
    sequence.lead(order.lead)
    blocks = len(example.text) // MIX_TEXT
    for block in range(blocks):
        sequence.text(example.text[block * MIX_TEXT : (block + 1) * MIX_TEXT])
        sequence.speech(example, block * MIX_SPEECH, (block + 1) * MIX_SPEECH, order.fill)
    sequence.text(example.text[blocks * MIX_TEXT :])
    sequence.mark(TASK)
    sequence.speech(example, blocks * MIX_SPEECH, len(example.codes), order.end)
    return sequence


def collate(sequences: list[Sequence]) -> Batch:
    length = max(len(s.ids) for s in sequences)

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        out = torch.full((len(rows), length), fill)
        for row, values in zip(out, rows, strict=True):
            row[: len(values)] = torch.tensor(values)
        return out

    aligned = torch.full((len(sequences), length, 2), -1)
    for row, sequence in zip(aligned, sequences, strict=True):
        row[: len(sequence.aligned)] = torch.tensor(sequence.aligned)
    return Batch(
        padded([s.kind for s in sequences], MARK),
        padded([s.ids for s in sequences], 0),
        padded([s.target for s in sequences], -1),
        aligned,
    )

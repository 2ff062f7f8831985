"""Two rows of a slot session for each generation, so that a code has its latent when it is drawn.

The release draws codes in one pass and computes latents in a second, over the codes that were
drawn, in which every code stands one position earlier. Here both passes go on side by side: the
weights are read once.

    row 0, draws       prompt | code 1 at 2 | code 2 at 3 | ...
    row 1, latents     prompt | code 1 at 1 | code 2 at 2 | ...
"""

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.llm.slots.session import SlotSession


class PairedSlots:
    """`tritone.llm.slots.session.SlotSession` over one of twice as many slots: slot i is its slots
    2i and 2i + 1. Rows of a prompt are (n, width), those of a step (n, 2 * width)."""

    def __init__(self, session: SlotSession) -> None:
        self._session, self.slots = session, session.slots // 2
        self.slot_length, self.prefill_part = session.slot_length, session.prefill_part
        self._stepped = False  # what the last call was: a step has two rows for each slot

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        logits = self._session.prefill(2 * slot, embeds, start)
        self._session.move(2 * slot, 2 * slot + 1, start + len(embeds), start)
        self._stepped = False
        return logits

    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        rows = embeds.reshape(2 * len(embeds), -1)
        logits = self._session.decode(rows, np.repeat(lengths, 2), beyond)
        self._stepped = True
        return logits[::2]

    def latent(self, row: int) -> Float32:
        return self._session.latent(2 * row + 1 if self._stepped else row)

    def move(self, source: int, target: int, length: int, start: int = 0) -> None:
        for row in (0, 1):
            self._session.move(2 * source + row, 2 * target + row, length, start)

    def swap(self, first: int, second: int, length: int) -> None:
        for row in (0, 1):
            self._session.swap(2 * first + row, 2 * second + row, length)

    def clear(self, slot: int) -> None:
        for row in (0, 1):
            self._session.clear(2 * slot + row)

    def text_keys(self, slot: int, prompt: int) -> Float32:
        return self._session.text_keys(2 * slot, prompt)

    def text_query(self, row: int, position: int) -> Float32:
        return self._session.text_query(2 * row, position)

"""What the scheduler asks of a session: keys and values of many streams, and steps over them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tritone.arrays import Float32, Int32
from tritone.llm.sampler import Draw


class SlotSession(Protocol):
    """Slot i of a buffer holds the keys and values of one stream. One thread owns it.

    slots: streams that fit. slot_length: positions of each. prefill_part: positions of a prompt
    that are read at a time; fewer cost speed, more make running streams wait longer.
    """

    slots: int
    slot_length: int
    prefill_part: int

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        """Write a prompt, or its next part, into `slot`.

        embeds: (n, hidden) of the part. start: positions of the prompt already there. Returns
        (rows,) logits of its last position, a copy.
        """
        ...

    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        """Advance slots 0..n-1 by one position, as one batch.

        embeds: (n, hidden) of the new tokens. lengths: (n,) positions filled before. beyond: those
        of slot n, where a stream has it: they stay. Returns (n, rows) logits, overwritten by the
        next call.
        """
        ...

    def move(self, source: int, target: int, length: int, start: int = 0) -> None:
        """Copy the first `length` positions of a slot over another, which has those before `start`
        already."""
        ...

    def swap(self, first: int, second: int, length: int) -> None:
        """Exchange the first `length` positions of two slots."""
        ...

    def clear(self, slot: int) -> None:
        """Nobody has this slot now: what it holds is not kept."""
        ...

    def text_keys(self, slot: int, prompt: int) -> Float32:
        """(prompt, width): the keys of the text heads at the first positions of `slot`, a copy."""
        ...

    def text_query(self, row: int, position: int) -> Float32:
        """(width,): what the text heads asked for from `position`, in row `row` of the last call.
        They looked most at the position whose key has the largest product with it."""
        ...

    def latent(self, row: int) -> Float32:
        """(width,) float32, a copy: the state in row `row` of the last call that its logits were
        made of. Of models that give latents."""
        ...


@runtime_checkable
class DrawingSession(SlotSession, Protocol):
    """One that can draw the next tokens itself, where it has made their logits."""

    def decode_drawn(
        self, embeds: Float32, lengths: Int32, draws: Sequence[Draw], beyond: int = 0
    ) -> Int32:
        """As `decode`, and draw: (n, 2) rows of the head, -1 where the logits are no numbers, and
        whether each was drawn twice."""
        ...

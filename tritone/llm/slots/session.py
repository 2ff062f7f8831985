"""What computes for the scheduler: one language model with the caches of many streams."""

from typing import Protocol

from tritone.arrays import Float32, Int32


class SlotSession(Protocol):
    """Slot i of a buffer holds the keys and values of one stream.

    Streams in slots 0..n-1 advance together as one batch. Not thread-safe: one thread owns it.

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

    def decode(self, embeds: Float32, lengths: Int32) -> Float32:
        """Advance slots 0..n-1 by one position.

        embeds: (n, hidden) of the new tokens. lengths: (n,) positions filled before. Returns
        (n, rows) logits, overwritten by the next call.
        """
        ...

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a slot over another."""
        ...

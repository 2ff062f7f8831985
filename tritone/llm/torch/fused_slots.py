"""Slots whose steps are fused operators: a few launches for each layer, in graphs.

Each row is a position of a slot. A step has one row of each stream, and reading a prompt many of
one: the same operators, which first write the keys and values of all rows. Attention reads what a
row sees and no more, so a graph serves streams of all lengths, and what an earlier stream left in
a slot, numbers or not, is never looked at.
"""

from functools import partial

import torch
from torch import Tensor

from tritone.arrays import Float32
from tritone.llm.torch.decoder import AttendProjected, FusedDecoder
from tritone.llm.torch.drawing import FusedDrawing
from tritone.llm.torch.fused import slot_attention, turned_heads
from tritone.llm.torch.slots import Stepped, TorchSlots

_FEWEST = 32  # positions that a graph reads


class FusedSlots(TorchSlots):
    """`TorchSlots` by fused operators."""

    _kind_of_drawing = FusedDrawing
    _model: FusedDecoder

    @torch.inference_mode()
    def __init__(
        self, decoder: FusedDecoder, *, slots: int, slot_length: int, window: int | None = 1
    ) -> None:
        super().__init__(decoder, slots=slots, slot_length=slot_length, window=window)
        device, part = decoder.device, self.prefill_part
        pinned = device.type == "cuda"
        shape = (part, decoder.config.hidden_size)
        self._host_part = torch.zeros(shape, pin_memory=pinned)
        # slots and positions of the rows, and which of them is the last
        self._host_places = torch.zeros(3, part, dtype=torch.long, pin_memory=pinned)
        self._part, self._places = self._host_part.to(device), self._host_places.to(device)

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        for first in range(0, len(embeds), self.prefill_part):
            part = embeds[first : first + self.prefill_part]
            logits = self._prefill(slot, part, start + first)
        return logits

    @torch.inference_mode()
    def _prefill(self, slot: int, embeds: Float32, start: int) -> Float32:
        count = len(embeds)
        rows = max(_FEWEST, 1 << (count - 1).bit_length())
        self._host_part[:count] = torch.from_numpy(embeds)
        places = self._host_places
        places[0], places[1] = slot, self.slot_length
        places[1, :count] = torch.arange(start, start + count)
        places[2] = count - 1
        self._part[:count].copy_(self._host_part[:count], non_blocking=True)
        self._places.copy_(places, non_blocking=True)
        read = self._graphs(("prefill", rows), partial(self._read, rows))
        self._host_queries[:1].copy_(self._queries[:1].flatten(1))
        if self._latents:
            self._host_last[:1].copy_(read.last)
        self._host_logits[:1].copy_(read.logits)
        logits: Float32 = self._host_logits[0].numpy().copy()
        return logits

    def _step(self, rows: int, reach: int) -> Stepped:
        given = self._rows[:rows], self._lengths[:rows]
        last = self._model.advance(self._embeds[:rows, 0], self._attend(*given))
        logits = self._model.logits(last)
        return Stepped(last, logits, self._drawing(logits) if self._drawing else None)

    def _read(self, rows: int) -> Stepped:
        """Positions of one slot from the static buffers."""
        (slots, lengths), last = self._places[:2, :rows], self._places[2, :1]
        states = self._model.advance(self._part[:rows], self._attend(slots, lengths, last))
        end = states.index_select(0, last)
        return Stepped(end, self._model.logits(end), None)

    def _attend(
        self, slots: Tensor, lengths: Tensor, noted: Tensor | None = None
    ) -> AttendProjected:
        """For rows at `lengths` of `slots`. noted: the row whose queries are kept, if not all."""
        turns = self._model.rotation
        guided = {layer for layer, _ in self._heads}

        def attend(layer: int, projected: Tensor) -> Tensor:
            cache = self._cache[layer]
            query = turned_heads(projected, *turns, slots, lengths, cache)
            if layer in guided:
                kept = query if noted is None else query.index_select(0, noted)
                rows, heads, dim = kept.shape
                groups = heads // self._group
                self._keep_queries(layer, kept.view(rows, groups, self._group, dim))
            return slot_attention(query, slots, lengths, cache, self.slot_length).flatten(1)

        return attend

    def _bucket(self, count: int, positions: int) -> tuple[int, int]:
        rows, _ = super()._bucket(count, positions)
        return rows, self.slot_length

    @torch.inference_mode()
    def record_graphs(self) -> None:
        super().record_graphs()
        self._host_places[1] = self.slot_length
        self._places.copy_(self._host_places)
        rows = _FEWEST
        while rows <= self.prefill_part:
            self._graphs.record(("prefill", rows), partial(self._read, rows))
            rows *= 2

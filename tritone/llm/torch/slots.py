"""The language model as a torch session, on a GPU under CUDA graphs (or, for tests, on a CPU).

A step reads every stream's keys up to the next bucket of lengths, so that a few recorded graphs
serve every mix of streams: one for each number of streams and each length, both rounded up.

A mask hides no value that is not a number, which a broken stream may leave. So slots are emptied
for a new stream, and moved with their emptiness.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.arrays import Float32, Int32
from tritone.compute import GraphCache
from tritone.llm.sampler import Draw
from tritone.llm.torch.decoder import TorchDecoder
from tritone.llm.torch.drawing import Drawing

SPARE = 1  # positions more than a slot has, where rows that stand for no stream write
SHORTEST_REACH = 256  # positions; the smallest bucket of lengths


class Stepped(NamedTuple):
    """On the device, of a whole bucket of rows: the states, their logits, and what was drawn where
    the device draws."""

    last: Tensor
    logits: Tensor
    drawn: Tensor | None


class TorchSlots:
    """`tritone.llm.slots.session.DrawingSession` in torch; parameters as there.

    window: the most tokens that a `Draw` has in its own; None for tokens that are drawn elsewhere,
    when this is a plain `SlotSession`. `record_graphs` is for a GPU, before the first request.
    """

    prefill_part = 256
    _kind_of_drawing = Drawing

    @torch.inference_mode()
    def __init__(
        self, decoder: TorchDecoder, *, slots: int, slot_length: int, window: int | None = 1
    ) -> None:
        self.slots, self.slot_length, self._model = slots, slot_length, decoder
        config, device, dtype = decoder.config, decoder.device, decoder.dtype
        heads, dim = config.num_key_value_heads, config.head_dim
        self._group = config.num_attention_heads // heads
        shape = (config.num_hidden_layers, 2, slots, heads, slot_length + SPARE, dim)
        self._cache = torch.zeros(shape, device=device, dtype=dtype)
        pinned = device.type == "cuda"
        self._host_embeds = torch.zeros(slots, 1, config.hidden_size, pin_memory=pinned)
        self._host_lengths = torch.zeros(slots, dtype=torch.long, pin_memory=pinned)
        self._host_logits = torch.zeros(slots, decoder.rows, pin_memory=pinned)
        self._latents = config.gives_latents
        width = config.hidden_size if self._latents else 0
        self._host_last = torch.zeros(slots, width, pin_memory=pinned)
        self._embeds = self._host_embeds.to(device)
        self._lengths = self._host_lengths.to(device)
        self._heads = config.text_heads
        self._queries = torch.zeros(slots, len(self._heads), dim, device=device)
        width = len(self._heads) * dim
        self._host_queries = torch.zeros(slots, width, pin_memory=pinned)
        self._rows = torch.arange(slots, device=device)
        self._positions = torch.arange(slot_length + SPARE, device=device)
        drawing = self._kind_of_drawing
        self._drawing = None if window is None else drawing(slots, decoder.waiting, window, device)
        self._host_drawn = torch.zeros(slots, 2, dtype=torch.long, pin_memory=pinned)
        self._graphs: GraphCache[Stepped] = GraphCache(device)

    @torch.inference_mode()
    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        end = start + len(embeds)
        positions = self._positions[start:end]
        visible = self._positions[:end] <= positions[:, None]
        visible = visible.repeat(self._group, 1)
        if start == 0:
            self._cache[:, :, slot] = 0

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer, :, slot : slot + 1]
            keys[:, :, start:end], values[:, :, start:end] = key, value
            keys, values = keys[:, :, :end], values[:, :, :end]
            self._keep_queries(layer, query)
            return F.scaled_dot_product_attention(query, keys, values, visible)

        given = torch.from_numpy(embeds)[None].to(self._model.device)
        last = self._model.forward(given, positions[None], attend)
        logits: Float32 = self._model.logits(last)[0].cpu().numpy()
        self._host_queries[:1].copy_(self._queries[:1].flatten(1))
        if self._latents:
            self._host_last[:1].copy_(last)
        return logits

    @torch.inference_mode()
    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        stepped, count = self._advance(embeds, lengths), len(embeds)
        if self._latents:
            self._host_last[:count].copy_(stepped.last[:count], non_blocking=True)
        self._host_logits[:count].copy_(stepped.logits[:count])
        ready: Float32 = self._host_logits[:count].numpy()
        return ready

    @torch.inference_mode()
    def decode_drawn(
        self, embeds: Float32, lengths: Int32, draws: Sequence[Draw], beyond: int = 0
    ) -> Int32:
        count = len(embeds)
        assert self._drawing, "tokens are drawn elsewhere"
        self._drawing.prepare(draws)
        drawn = self._advance(embeds, lengths).drawn
        assert drawn is not None
        self._host_drawn[:count].copy_(drawn[:count])
        ready: Int32 = self._host_drawn[:count].numpy().astype(np.int32)
        return ready

    def _advance(self, embeds: Float32, lengths: Int32) -> Stepped:
        count = len(embeds)
        rows, reach = self._bucket(count, int(lengths.max()) + 1)
        self._host_embeds[:count, 0] = torch.from_numpy(embeds)
        self._host_lengths[:count] = torch.from_numpy(lengths)
        self._host_lengths[count:rows] = self.slot_length
        self._embeds[:rows].copy_(self._host_embeds[:rows], non_blocking=True)
        self._lengths[:rows].copy_(self._host_lengths[:rows], non_blocking=True)
        stepped = self._graphs((rows, reach), partial(self._step, rows, reach))
        self._host_queries[:count].copy_(self._queries[:count].flatten(1), non_blocking=True)
        return stepped

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int, start: int = 0) -> None:
        moved = slice(start, length if start else None)
        self._cache[:, :, target, :, moved] = self._cache[:, :, source, :, moved]

    @torch.inference_mode()
    def swap(self, first: int, second: int, length: int) -> None:
        kept = self._cache[:, :, first].clone()
        self.move(second, first, length)
        self._cache[:, :, second] = kept

    def clear(self, slot: int) -> None:
        """Memory of slots is taken once; a new stream finds its own emptied."""

    @torch.inference_mode()
    def text_keys(self, slot: int, prompt: int) -> Float32:
        group = self._group
        keys = [self._cache[layer, 0, slot, head // group, :prompt] for layer, head in self._heads]
        joined: Float32 = torch.cat(keys, dim=1).float().cpu().numpy()
        return joined

    def text_query(self, row: int, position: int) -> Float32:
        query: Float32 = self._host_queries[row].numpy()  # turned to the position already
        return query

    def latent(self, row: int) -> Float32:
        state: Float32 = self._host_last[row].numpy().copy()
        return state

    def _keep_queries(self, layer: int, query: Tensor) -> None:
        """Of the text heads of a layer, those of the last position. query as for `Attend`."""
        rows, groups, _, dim = query.shape
        by_head = query.view(rows, groups, self._group, -1, dim)[:, :, :, -1].flatten(1, 2)
        for place, (guided, head) in enumerate(self._heads):
            if guided == layer:
                self._queries[: len(query), place] = by_head[:, head].float()

    def _step(self, rows: int, reach: int) -> Stepped:
        """One token of slots 0..rows-1 from the static buffers, over `reach` positions."""
        slots, lengths = self._rows[:rows], self._lengths[:rows]
        visible = (self._positions[:reach] <= lengths[:, None])[:, None, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer]
            keys[slots, :, lengths], values[slots, :, lengths] = key[:, :, 0], value[:, :, 0]
            mask = visible.expand(-1, 1, self._group, -1)
            keys, values = keys[:rows, :, :reach], values[:rows, :, :reach]
            self._keep_queries(layer, query)
            return F.scaled_dot_product_attention(query, keys, values, mask)

        last = self._model.forward(self._embeds[:rows], lengths[:, None], attend)
        logits = self._model.logits(last)
        return Stepped(last, logits, self._drawing(logits) if self._drawing else None)

    def _bucket(self, count: int, positions: int) -> tuple[int, int]:
        """Streams and positions, each rounded up to what has a graph."""
        rows = min(self.slots, 1 << (count - 1).bit_length())
        reach = max(SHORTEST_REACH, 1 << (positions - 1).bit_length())
        return rows, min(reach, self.slot_length)

    @torch.inference_mode()
    def record_graphs(self) -> None:
        """Some seconds on a GPU, and nothing elsewhere."""
        for positions in {self._bucket(1, p)[1] for p in range(1, self.slot_length + 1)}:
            for count in range(1, self.slots + 1):
                rows, reach = self._bucket(count, positions)
                if rows == count:
                    self._lengths[:rows] = self.slot_length
                    self._graphs.record((rows, reach), partial(self._step, rows, reach))

"""The language model as a torch session, on a GPU under CUDA graphs (or, for tests, on a CPU).

A step reads every stream's keys up to the next bucket of lengths, so that a few recorded graphs
serve every mix of streams: one for each number of streams and each length, both rounded up.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute.cuda_graph import GraphCache
from tritone.llm.config import LLMConfig
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.loading.steps import step

SHORTEST_REACH = 256  # positions; the smallest bucket of lengths


class TorchSlots:
    """`tritone.llm.slots.session.SlotSession` in torch; parameters as there.

    dtype: of weights, keys and values. On a GPU all graphs are recorded here, before the first
    request: some seconds.
    """

    prefill_part = 256

    @torch.inference_mode()
    def __init__(
        self,
        checkpoint: Checkpoint,
        config: LLMConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
        slots: int,
        slot_length: int,
    ) -> None:
        self.slots, self.slot_length = slots, slot_length
        with step("LLM weights", checkpoint.path):
            self._model = TorchQwen2(checkpoint, config, device, dtype)
        heads, dim = config.num_key_value_heads, self._model.head_dim
        # one position more than a slot has, where rows that stand for no stream write
        shape = (config.num_hidden_layers, 2, slots, heads, slot_length + 1, dim)
        self._cache = torch.zeros(shape, device=device, dtype=dtype)
        pinned = device.type == "cuda"
        self._host_embeds = torch.zeros(slots, 1, config.hidden_size, pin_memory=pinned)
        self._host_lengths = torch.zeros(slots, dtype=torch.long, pin_memory=pinned)
        self._host_logits = torch.zeros(slots, config.speech_head_size, pin_memory=pinned)
        self._embeds = self._host_embeds.to(device)
        self._lengths = self._host_lengths.to(device)
        self._rows = torch.arange(slots, device=device)
        self._positions = torch.arange(slot_length + 1, device=device)
        self._graphs: GraphCache[Tensor] = GraphCache(device)
        if pinned:
            with step("LLM graphs"):
                self._record_graphs()

    @torch.inference_mode()
    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        end = start + len(embeds)
        positions = self._positions[start:end]
        visible = self._positions[:end] <= positions[:, None]
        visible = visible.repeat(self._model.group, 1)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer, :, slot : slot + 1]
            keys[:, :, start:end], values[:, :, start:end] = key, value
            return _attend(query, keys[:, :, :end], values[:, :, :end], visible)

        given = torch.from_numpy(embeds)[None].to(self._model.device)
        logits: Float32 = self._model.forward(given, positions[None], attend)[0].cpu().numpy()
        return logits

    @torch.inference_mode()
    def decode(self, embeds: Float32, lengths: Int32) -> Float32:
        count = len(embeds)
        rows, reach = self._bucket(count, int(lengths.max()) + 1)
        self._host_embeds[:count, 0] = torch.from_numpy(embeds)
        self._host_lengths[:count] = torch.from_numpy(lengths)
        self._host_lengths[count:rows] = self.slot_length
        self._embeds[:rows].copy_(self._host_embeds[:rows], non_blocking=True)
        self._lengths[:rows].copy_(self._host_lengths[:rows], non_blocking=True)
        logits = self._graphs((rows, reach), partial(self._step, rows, reach))
        self._host_logits[:count].copy_(logits[:count])
        ready: Float32 = self._host_logits[:count].numpy()
        return ready

    @torch.inference_mode()
    def move(self, source: int, target: int, length: int) -> None:
        self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]

    def _step(self, rows: int, reach: int) -> Tensor:
        """One token of slots 0..rows-1 from the static buffers, over `reach` positions."""
        slots, lengths = self._rows[:rows], self._lengths[:rows]
        visible = (self._positions[:reach] <= lengths[:, None])[:, None, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer]
            keys[slots, :, lengths], values[slots, :, lengths] = key[:, :, 0], value[:, :, 0]
            mask = visible.expand(-1, 1, self._model.group, -1)
            return _attend(query, keys[:rows, :, :reach], values[:rows, :, :reach], mask)

        return self._model.forward(self._embeds[:rows], lengths[:, None], attend)

    def _bucket(self, count: int, positions: int) -> tuple[int, int]:
        """Streams and positions, each rounded up to what has a graph."""
        rows = min(self.slots, 1 << (count - 1).bit_length())
        reach = max(SHORTEST_REACH, 1 << (positions - 1).bit_length())
        return rows, min(reach, self.slot_length)

    def _record_graphs(self) -> None:
        for positions in {self._bucket(1, p)[1] for p in range(1, self.slot_length + 1)}:
            for count in range(1, self.slots + 1):
                rows, reach = self._bucket(count, positions)
                if rows == count:
                    self._lengths[:rows] = self.slot_length
                    self._graphs((rows, reach), partial(self._step, rows, reach))


def _attend(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=visible)

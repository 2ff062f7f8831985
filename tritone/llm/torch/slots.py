"""The language model as a torch session, on a GPU under CUDA graphs (or, for tests, on a CPU).

A step reads every stream's keys up to the next bucket of lengths, so that a few recorded graphs
serve every mix of streams: one for each number of streams and each length, both rounded up.

The decoder is Qwen2's, with the speech head: root-mean-square norm, rotary positions over the
halves of a head, grouped-query attention with a bias on q, k and v, gated SiLU feed-forward (Qwen2
technical report, arXiv:2407.10671).
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.compute import GraphCache
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, HEAD, HEAD_BIAS, layer_name
from tritone.llm.config import LLMConfig
from tritone.llm.rotary import rotary_tables
from tritone.llm.sampler import Draw
from tritone.llm.torch.drawing import Drawing
from tritone.loading.steps import step

SHORTEST_REACH = 256  # positions; the smallest bucket of lengths

Weights = dict[str, Tensor]  # of one layer
# (layer, query, key, value) -> attended. query (rows, kv_heads, group * n, head_dim), key and value
# (rows, kv_heads, n, head_dim); the result is like query.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class TorchSlots:
    """`tritone.llm.slots.session.DrawingSession` in torch; parameters as there.

    dtype: of weights, keys and values. window: the most tokens that a `Draw` has in its own. On a
    GPU all graphs are recorded here, before the first request: some seconds.
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
        window: int = 1,
    ) -> None:
        self.slots, self.slot_length = slots, slot_length
        with step("LLM weights", checkpoint.path):
            self._model = TorchQwen2(checkpoint, config, device, dtype)
        heads, dim = config.num_key_value_heads, config.head_dim
        # one position more than a slot has, where rows that stand for no stream write
        shape = (config.num_hidden_layers, 2, slots, heads, slot_length + 1, dim)
        self._cache = torch.zeros(shape, device=device, dtype=dtype)
        pinned = device.type == "cuda"
        self._host_embeds = torch.zeros(slots, 1, config.hidden_size, pin_memory=pinned)
        self._host_lengths = torch.zeros(slots, dtype=torch.long, pin_memory=pinned)
        self._host_logits = torch.zeros(slots, config.speech_head_size, pin_memory=pinned)
        self._embeds = self._host_embeds.to(device)
        self._lengths = self._host_lengths.to(device)
        self._heads = config.text_heads
        self._queries = torch.zeros(slots, len(self._heads), dim, device=device)
        width = len(self._heads) * dim
        self._host_queries = torch.zeros(slots, width, pin_memory=pinned)
        self._rows = torch.arange(slots, device=device)
        self._positions = torch.arange(slot_length + 1, device=device)
        self._drawing = Drawing(slots, config.waiting_rows, window, device)
        self._host_drawn = torch.zeros(slots, 2, dtype=torch.long, pin_memory=pinned)
        self._graphs: GraphCache[tuple[Tensor, Tensor]] = GraphCache(device)
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
            keys, values = keys[:, :, :end], values[:, :, :end]
            self._keep_queries(layer, query)
            return F.scaled_dot_product_attention(query, keys, values, visible)

        given = torch.from_numpy(embeds)[None].to(self._model.device)
        logits: Float32 = self._model.forward(given, positions[None], attend)[0].cpu().numpy()
        self._host_queries[:1].copy_(self._queries[:1].flatten(1))
        return logits

    @torch.inference_mode()
    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        logits, _ = self._advance(embeds, lengths)
        count = len(embeds)
        self._host_logits[:count].copy_(logits[:count])
        ready: Float32 = self._host_logits[:count].numpy()
        return ready

    @torch.inference_mode()
    def decode_drawn(
        self, embeds: Float32, lengths: Int32, draws: Sequence[Draw], beyond: int = 0
    ) -> Int32:
        count = len(embeds)
        self._drawing.prepare(draws)
        _, drawn = self._advance(embeds, lengths)
        self._host_drawn[:count].copy_(drawn[:count])
        ready: Int32 = self._host_drawn[:count].numpy().astype(np.int32)
        return ready

    def _advance(self, embeds: Float32, lengths: Int32) -> tuple[Tensor, Tensor]:
        """Logits and what was drawn, of a whole bucket of rows, on the device."""
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
    def move(self, source: int, target: int, length: int) -> None:
        self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]

    @torch.inference_mode()
    def swap(self, first: int, second: int, length: int) -> None:
        kept = self._cache[:, :, first, :, :length].clone()
        self.move(second, first, length)
        self._cache[:, :, second, :, :length] = kept

    @torch.inference_mode()
    def text_keys(self, slot: int, prompt: int) -> Float32:
        group = self._model.group
        keys = [self._cache[layer, 0, slot, head // group, :prompt] for layer, head in self._heads]
        joined: Float32 = torch.cat(keys, dim=1).float().cpu().numpy()
        return joined

    def text_query(self, row: int, position: int) -> Float32:
        query: Float32 = self._host_queries[row].numpy()  # turned to the position already
        return query

    def _keep_queries(self, layer: int, query: Tensor) -> None:
        """Of the text heads of a layer, those of the last position. query as for `Attend`."""
        rows, groups, _, dim = query.shape
        by_head = query.view(rows, groups, self._model.group, -1, dim)[:, :, :, -1].flatten(1, 2)
        for place, (guided, head) in enumerate(self._heads):
            if guided == layer:
                self._queries[: len(query), place] = by_head[:, head].float()

    def _step(self, rows: int, reach: int) -> tuple[Tensor, Tensor]:
        """One token of slots 0..rows-1 from the static buffers, over `reach` positions."""
        slots, lengths = self._rows[:rows], self._lengths[:rows]
        visible = (self._positions[:reach] <= lengths[:, None])[:, None, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._cache[layer]
            keys[slots, :, lengths], values[slots, :, lengths] = key[:, :, 0], value[:, :, 0]
            mask = visible.expand(-1, 1, self._model.group, -1)
            keys, values = keys[:rows, :, :reach], values[:rows, :, :reach]
            self._keep_queries(layer, query)
            return F.scaled_dot_product_attention(query, keys, values, mask)

        logits = self._model.forward(self._embeds[:rows], lengths[:, None], attend)
        return logits, self._drawing(logits)

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
                    self._graphs.record((rows, reach), partial(self._step, rows, reach))


class TorchQwen2:
    """The merged checkpoint on a device, with positions 0 to max_position_embeddings; a row at the
    last one, which no stream reaches, may stand for nothing."""

    def __init__(
        self, checkpoint: Checkpoint, config: LLMConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.group = config.num_attention_heads // config.num_key_value_heads
        self._checkpoint = checkpoint
        self._layers = [self._layer(layer) for layer in range(config.num_hidden_layers)]
        self._norm = self._load(FINAL_NORM)
        self._head = self._load(HEAD, config.speech_rows)
        self._head_bias = self._load(HEAD_BIAS, config.speech_rows).float()
        tables = (torch.from_numpy(table).to(device) for table in rotary_tables(config))
        self._cos, self._sin = (F.pad(table, (0, 0, 0, 1)) for table in tables)

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """embeds (rows, n, hidden) at positions (rows, n) -> (rows, head) float32 logits of the
        last position: codes, then stop ids."""
        cos, sin = (table[positions][:, :, None].to(self.dtype) for table in (self._cos, self._sin))
        hidden = embeds.to(self.dtype)
        for index, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer["attention_norm"])
            hidden = hidden + self._attention(index, normed, cos, sin, attend)
            normed = self._normed(hidden, layer["feed_forward_norm"])
            gate, up = F.linear(normed, layer["gate_up"]).chunk(2, dim=-1)
            hidden = hidden + F.linear(F.silu(gate) * up, layer["down"])
        last = self._normed(hidden[:, -1], self._norm)
        return F.linear(last, self._head).float() + self._head_bias

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _attention(self, index: int, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        (rows, n, _), layer, head_dim = x.shape, self._layers[index], self.config.head_dim
        query_heads, kv_heads = self.config.num_attention_heads, self.config.num_key_value_heads
        heads = F.linear(x, layer["query_key_value"], layer["query_key_value_bias"])
        heads = heads.view(rows, n, -1, head_dim)
        turned, value = torch.split(heads, [query_heads + kv_heads, kv_heads], dim=2)
        turned = _rotate(turned, cos, sin)
        query, key = torch.split(turned, [query_heads, kv_heads], dim=2)
        # the queries that share a key stand side by side, so that keys are never repeated
        query = query.view(rows, n, kv_heads, self.group, head_dim).permute(0, 2, 3, 1, 4)
        query = query.reshape(rows, kv_heads, self.group * n, head_dim)
        attended = attend(index, query, key.transpose(1, 2), value.transpose(1, 2))
        attended = attended.view(rows, kv_heads, self.group, n, head_dim)
        return F.linear(attended.permute(0, 3, 1, 2, 4).reshape(rows, n, -1), layer["output"])

    def _layer(self, layer: int) -> Weights:
        """Weights of one layer; projections that share an input are one matrix."""
        parts = {
            "attention_norm": ["input_layernorm.weight"],
            "query_key_value": [f"self_attn.{part}_proj.weight" for part in "qkv"],
            "query_key_value_bias": [f"self_attn.{part}_proj.bias" for part in "qkv"],
            "output": ["self_attn.o_proj.weight"],
            "feed_forward_norm": ["post_attention_layernorm.weight"],
            "gate_up": ["mlp.gate_proj.weight", "mlp.up_proj.weight"],
            "down": ["mlp.down_proj.weight"],
        }
        return {
            name: torch.cat([self._load(layer_name(layer, part)) for part in joined])
            for name, joined in parts.items()
        }

    def _load(self, name: str, rows: slice = slice(None)) -> Tensor:
        values = torch.from_numpy(to_float32(self._checkpoint.stored(name)[rows]))
        if not torch.isfinite(values).all():
            problem = f"{name} has values that are NaN or infinite"
            raise ModelDirectoryError(f"{self._checkpoint.path}: {problem}")
        return values.to(self.device, self.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(rows, n, heads, head_dim) turned by the angle of each position, halves paired."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

"""Qwen2's decoder in torch, with the speech head; the caller brings the attention over its caches.

Root-mean-square norm, rotary positions over the halves of a head, grouped-query attention with a
bias on q, k and v, gated SiLU feed-forward (Qwen2 technical report, arXiv:2407.10671).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.llm.checkpoint import FINAL_NORM, HEAD, HEAD_BIAS, layer_name
from tritone.llm.config import LLMConfig
from tritone.llm.onnx.graph import rotary_tables

# (layer, query, key, value) -> attended. query (rows, kv_heads, group * n, head_dim), key and value
# (rows, kv_heads, n, head_dim); the result is like query.
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class DecoderLayer:
    """Weights of one layer; projections that share an input are one matrix."""

    attention_norm: Tensor
    query_key_value: Tensor
    query_key_value_bias: Tensor
    output: Tensor
    feed_forward_norm: Tensor
    gate_up: Tensor
    down: Tensor


class TorchQwen2:
    """The merged checkpoint on a device, with positions 0 to max_position_embeddings; a row at the
    last one, which no stream reaches, may stand for nothing.
    """

    def __init__(
        self, checkpoint: Checkpoint, config: LLMConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.group = config.num_attention_heads // config.num_key_value_heads
        self._checkpoint = checkpoint
        self._layers = [self._layer(layer) for layer in range(config.num_hidden_layers)]
        self._norm = self._load(FINAL_NORM)
        rows = slice(config.speech_offset, config.speech_offset + config.speech_head_size)
        self._head = self._load(HEAD, rows)
        self._head_bias = self._load(HEAD_BIAS, rows).float()
        tables = (torch.from_numpy(table).to(device) for table in rotary_tables(config))
        self._cos, self._sin = (F.pad(table, (0, 0, 0, 1)) for table in tables)

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """embeds (rows, n, hidden) at positions (rows, n) -> (rows, head) float32 logits of the
        last position: codes, then stop ids."""
        cos, sin = (table[positions][:, :, None].to(self.dtype) for table in (self._cos, self._sin))
        hidden = embeds.to(self.dtype)
        for index, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer.attention_norm)
            hidden = hidden + self._attention(index, layer, normed, cos, sin, attend)
            normed = self._normed(hidden, layer.feed_forward_norm)
            gate, up = F.linear(normed, layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + F.linear(F.silu(gate) * up, layer.down)
        last = self._normed(hidden[:, -1], self._norm)
        return F.linear(last, self._head).float() + self._head_bias

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.rms_norm_eps)

    def _attention(
        self, index: int, layer: DecoderLayer, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend
    ) -> Tensor:
        rows, n, _ = x.shape
        query_heads = self.config.num_attention_heads
        heads = F.linear(x, layer.query_key_value, layer.query_key_value_bias)
        heads = heads.view(rows, n, -1, self.head_dim)
        kv_heads = self.config.num_key_value_heads
        turned, value = torch.split(heads, [query_heads + kv_heads, kv_heads], dim=2)
        turned = _rotate(turned, cos, sin)
        query, key = torch.split(turned, [query_heads, kv_heads], dim=2)
        # the queries that share a key stand side by side, so that keys are never repeated
        query = query.view(rows, n, kv_heads, self.group, self.head_dim).permute(0, 2, 3, 1, 4)
        query = query.reshape(rows, kv_heads, self.group * n, self.head_dim)
        attended = attend(index, query, key.transpose(1, 2), value.transpose(1, 2))
        attended = attended.view(rows, kv_heads, self.group, n, self.head_dim)
        return F.linear(attended.permute(0, 3, 1, 2, 4).reshape(rows, n, -1), layer.output)

    def _layer(self, layer: int) -> DecoderLayer:
        def load(*parts: str) -> Tensor:
            return torch.cat([self._load(layer_name(layer, part)) for part in parts])

        return DecoderLayer(
            attention_norm=load("input_layernorm.weight"),
            query_key_value=load(*(f"self_attn.{part}_proj.weight" for part in "qkv")),
            query_key_value_bias=load(*(f"self_attn.{part}_proj.bias" for part in "qkv")),
            output=load("self_attn.o_proj.weight"),
            feed_forward_norm=load("post_attention_layernorm.weight"),
            gate_up=load("mlp.gate_proj.weight", "mlp.up_proj.weight"),
            down=load("mlp.down_proj.weight"),
        )

    def _load(self, name: str, rows: slice = slice(None)) -> Tensor:
        values = torch.from_numpy(to_float32(self._checkpoint.stored(name)[rows]))
        return values.to(self.device, self.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(rows, n, heads, head_dim) turned by the angle of each position, halves paired."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

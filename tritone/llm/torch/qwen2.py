"""Qwen2 with the speech head, in torch.

Root-mean-square norm, rotary positions over the halves of a head, grouped-query attention with a
bias on q, k and v, gated SiLU feed-forward (Qwen2 technical report, arXiv:2407.10671).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, HEAD, HEAD_BIAS, layer_name
from tritone.llm.config import LLMConfig
from tritone.llm.rotary import rotary_tables
from tritone.llm.torch.decoder import Attend, AttendProjected
from tritone.llm.torch.fused import gated_silu, rms_norm
from tritone.loading.steps import step

Weights = dict[str, Tensor]  # of one layer


class TorchQwen2:
    """`tritone.llm.torch.decoder.FusedDecoder` of the merged checkpoint, with positions 0 to
    max_position_embeddings; a row at the last one, which no stream reaches, may stand for
    nothing."""

    def __init__(
        self, checkpoint: Checkpoint, config: LLMConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.rows, self.waiting = config.speech_head_size, config.waiting_rows
        self._group = config.num_attention_heads // config.num_key_value_heads
        self._checkpoint = checkpoint
        with step("LLM weights", checkpoint.path):
            self._layers = [self._layer(layer) for layer in range(config.num_hidden_layers)]
            self._norm = self._load(FINAL_NORM)
            self._head = self._load(HEAD, config.speech_rows)
            self._head_bias = self._load(HEAD_BIAS, config.speech_rows).float()
        tables = (torch.from_numpy(table).to(device) for table in rotary_tables(config))
        self._cos, self._sin = (F.pad(table, (0, 0, 0, 1)) for table in tables)

    @property
    def rotation(self) -> tuple[Tensor, Tensor]:
        return self._cos, self._sin

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        cos, sin = (table[positions][:, :, None].to(self.dtype) for table in (self._cos, self._sin))
        hidden = embeds.to(self.dtype)
        for index, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer["attention_norm"])
            hidden = hidden + self._attention(index, normed, cos, sin, attend)
            normed = self._normed(hidden, layer["feed_forward_norm"])
            gate, up = F.linear(normed, layer["gate_up"]).chunk(2, dim=-1)
            hidden = hidden + F.linear(F.silu(gate) * up, layer["down"])
        return self._normed(hidden[:, -1], self._norm)

    def advance(self, embeds: Tensor, attend: AttendProjected) -> Tensor:
        hidden, eps = embeds.to(self.dtype, copy=True), self.config.rms_norm_eps
        for index, layer in enumerate(self._layers):
            normed = rms_norm(hidden, layer["attention_norm"], eps)
            heads = F.linear(normed, layer["query_key_value"], layer["query_key_value_bias"])
            hidden.addmm_(attend(index, heads), layer["output"].mT)
            normed = rms_norm(hidden, layer["feed_forward_norm"], eps)
            hidden.addmm_(gated_silu(F.linear(normed, layer["gate_up"])), layer["down"].mT)
        return rms_norm(hidden, self._norm, eps)

    def logits(self, last: Tensor) -> Tensor:
        return F.linear(last, self._head) + self._head_bias  # which is float32

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
        query = query.view(rows, n, kv_heads, self._group, head_dim).permute(0, 2, 3, 1, 4)
        query = query.reshape(rows, kv_heads, self._group * n, head_dim)
        attended = attend(index, query, key.transpose(1, 2), value.transpose(1, 2))
        attended = attended.view(rows, kv_heads, self._group, n, head_dim)
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

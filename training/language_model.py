"""The speech language model as it is trained: a Qwen2 decoder with factorised tables.

Its tables are factored (training/factored.py); `upstream_state` folds them.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import LanguageModelConfig
from training.factored import FactoredTable, code_features
from training.fsq import CODES

STOP_ROWS = 3  # end of speech, one unused, fill token
END, FILL = CODES, CODES + 2
GUIDED_HEADS = 2  # the first looks at the token being spoken, the second at the one after it


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences (rows, length).

    kind: 0 text, 1 speech, 2 sos or task_id; ids within that kind's table. target: the speech row
    to predict after each position, -1 for none. aligned: (rows, length, 2) position of the text
    token spoken at that target and of the next one, -1 for none.
    """

    kind: Tensor
    ids: Tensor
    target: Tensor
    aligned: Tensor

    def to(self, device: torch.device) -> "Batch":
        parts = (self.kind, self.ids, self.target, self.aligned)
        return Batch(*(part.to(device, non_blocking=True) for part in parts))


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.epsilon)


class DecoderLayer(nn.Module):
    """Pre-norm grouped-query attention with rotary positions, and a SwiGLU feed-forward."""

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__()
        width, head = config.hidden_size, config.head_size
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.input_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.q_proj = nn.Linear(width, self.heads * head)
        self.k_proj = nn.Linear(width, self.groups * head)
        self.v_proj = nn.Linear(width, self.groups * head)
        self.o_proj = nn.Linear(self.heads * head, width, bias=False)
        self.post_attention_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.gate_proj = nn.Linear(width, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(width, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, width, bias=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the new x and the masked attention scores (rows, heads, length, length).

        Plain matrix products: on a CPU in bf16 they train five times faster than the fused kernel.
        """
        normed = self.input_layernorm(x)
        query = rotate(self._split(self.q_proj(normed), self.heads), rotary)
        key = rotate(self._split(self.k_proj(normed), self.groups), rotary)
        value = self._split(self.v_proj(normed), self.groups)
        repeat = self.heads // self.groups
        key, value = (t.repeat_interleave(repeat, dim=1) for t in (key, value))
        length = x.shape[1]
        future = query.new_full((length, length), -math.inf).triu(1)
        scores = (query / math.sqrt(query.shape[-1])) @ key.mT + future
        attended = scores.softmax(dim=-1).to(value.dtype) @ value
        x = x + self.o_proj(attended.transpose(1, 2).flatten(2))
        normed = self.post_attention_layernorm(x)
        x = x + self.down_proj(F.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return x, scores

    @staticmethod
    def _split(x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding, halves rotated against each other as Qwen2 does."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class SpeechLanguageModel(nn.Module):
    def __init__(
        self, config: LanguageModelConfig, spelling: Tensor, codes: Tensor | None = None
    ) -> None:
        """codes: features of the speech rows, CosyVoice2's by default."""
        super().__init__()
        self.config = config
        width = config.hidden_size
        if codes is None:
            codes = code_features(STOP_ROWS)
        self.text = FactoredTable(spelling, width, 0.5)
        self.speech = FactoredTable(codes, width, 0.5)
        self.head = FactoredTable(codes, width, 1 / math.sqrt(width))
        self.head_bias = nn.Parameter(torch.zeros(len(codes)))
        self.marks = nn.Parameter(torch.randn(2, width) * 0.5)  # sos and task_id
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(width, config.rms_norm_eps)
        for layer in self.layers:
            for name in ("o_proj", "down_proj"):
                nn.init.normal_(getattr(layer, name).weight, std=0.02)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over the targets, and the guided attention loss."""
        targets = batch.target >= 0
        x, attention = self._run(batch, guided=True)
        entropy = F.cross_entropy(self._project(x[targets]).float(), batch.target[targets])
        return entropy, torch.stack(attention).mean()

    def scores(self, batch: Batch) -> Tensor:
        """(targets, 6564) logits of every position that has a target."""
        x, _ = self._run(batch, guided=False)
        return self._project(x[batch.target >= 0])

    def _project(self, x: Tensor) -> Tensor:
        """Final norm and speech head, (n, width) -> (n, 6564)."""
        states = self.norm(x)
        return F.linear(states, self.head().to(states.dtype), self.head_bias.to(states.dtype))

    def _run(self, batch: Batch, *, guided: bool) -> tuple[Tensor, list[Tensor]]:
        tables = torch.cat([self.text(), self.speech(), self.marks])
        texts, codes = len(self.text.features), len(self.speech.features)
        offset = torch.tensor([0, texts, texts + codes], device=batch.ids.device)
        x = F.embedding(batch.ids + offset[batch.kind], tables).to(self._dtype())
        rotary = self._rotary(x)
        losses = []
        for index, layer in enumerate(self.layers):
            x, scores = layer(x, rotary)
            if guided and index in self.config.guided_layers:
                losses.append(attention_loss(scores, batch.aligned))
        return x, losses

    def _dtype(self) -> torch.dtype:
        return (
            torch.bfloat16 if torch.is_autocast_enabled(self.marks.device.type) else torch.float32
        )

    def _rotary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = self.config.head_size
        powers = torch.arange(0, size, 2, device=x.device) / size
        angle = torch.arange(x.shape[1], device=x.device)[:, None] * self.config.rope_theta**-powers
        angle = torch.cat([angle, angle], dim=1)
        return angle.cos().to(x.dtype), angle.sin().to(x.dtype)

    @torch.no_grad()
    def upstream_state(self) -> dict[str, Tensor]:
        """The released checkpoint's keys (llm.pt), with plain tables; without text embeddings."""
        state = {
            "llm_embedding.weight": self.marks.detach(),
            "speech_embedding.weight": self.speech(),
            "llm_decoder.weight": self.head(),
            "llm_decoder.bias": self.head_bias.detach(),
            "llm.model.model.embed_tokens.weight": self.text(),
            "llm.model.model.norm.weight": self.norm.weight.detach(),
            "llm.model.lm_head.weight": self.text(),
        }
        for index, layer in enumerate(self.layers):
            for name, value in layer.state_dict().items():
                part = "self_attn." if name[:2] in ("q_", "k_", "v_", "o_") else ""
                part = "mlp." if name.split("_")[0] in ("gate", "up", "down") else part
                state[f"llm.model.model.layers.{index}.{part}{name}"] = value
        return state


def attention_loss(scores: Tensor, aligned: Tensor) -> Tensor:
    """Minus the log of the attention that the guided heads pay to their text token, averaged.

    scores (rows, heads, length, length), masked; aligned (rows, length, 2) as in `Batch`.
    """
    losses = []
    for head in range(GUIDED_HEADS):
        position = aligned[..., head]
        rows, at = torch.nonzero(position >= 0, as_tuple=True)
        if len(rows):
            chosen = scores[rows, head, at].float()
            losses.append(F.cross_entropy(chosen, position[rows, at]))
    return torch.stack(losses).mean() if losses else scores.new_zeros(())

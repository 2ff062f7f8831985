"""A perceiver resampler (Flamingo, arXiv:2204.14198): frames of any count to a few vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.gpt_config import HEAD_WIDTH, ConditionerConfig

_LAYERS = 2


class Layer(nn.Module):
    """Latents look at the frames and at each other, then a feed-forward layer gated by GELU."""

    def __init__(self, config: ConditionerConfig) -> None:
        super().__init__()
        width, inner = config.latent_width, config.heads * HEAD_WIDTH
        hidden = width * config.expansion * 2 // 3
        self.heads = config.heads
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)
        self.expand = nn.Linear(width, 2 * hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, latents: Tensor, frames: Tensor, visible: Tensor | None) -> Tensor:
        """visible (rows, 1, 1, latents + frames)."""
        query = self._split(self.query(latents))
        both = self.key_value(torch.cat([latents, frames], dim=1))
        key, value = map(self._split, both.chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        latents = latents + self.output(attended.transpose(1, 2).flatten(2))
        values, gate = self.expand(latents).chunk(2, dim=-1)
        return latents + self.contract(F.gelu(gate) * values)  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, HEAD_WIDTH).transpose(1, 2)


class Perceiver(nn.Module):
    def __init__(self, config: ConditionerConfig) -> None:
        super().__init__()
        width = config.latent_width
        self.latents = nn.Parameter(torch.zeros(config.latents, width))
        self.input = nn.Linear(config.width, width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(_LAYERS))
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """(rows, n, width) frames, of which visible (rows, n) are -> (rows, latents,
        latent_width)."""
        frames = self.input(x)
        latents = self.latents.expand(len(x), -1, -1)
        if visible is not None:
            visible = F.pad(visible, (len(self.latents), 0), value=True)[:, None, None]
        for layer in self.layers:
            latents = layer(latents, frames, visible)
        return F.normalize(latents, dim=-1) * (latents.shape[-1] ** 0.5 * self.scale)  # type: ignore[no-any-return]

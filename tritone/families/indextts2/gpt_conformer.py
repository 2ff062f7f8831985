"""A Conformer (arXiv:2005.08100) over half of the frames, whose attention knows where a key stands
in the recording and not how far away it is. Everything is (rows, frames, channels).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.attention import sinusoid
from tritone.acoustic.linear import is_traced
from tritone.families.indextts2.gpt_config import ConditionerConfig
from tritone.families.indextts2.heads import head_width

_KERNEL = 15
_WINDOW, _STRIDE = 3, 2  # of the convolution that halves frames and features
_PART = 64  # frames halved at once: hundreds of megabytes for a whole recording otherwise


class Halving(nn.Module):
    """(rows, n, features) -> (rows, (n - 1) // 2, width)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.scale = math.sqrt(width)
        self.convolution = nn.Conv2d(1, width, _WINDOW, _STRIDE)
        self.project = nn.Linear(width * ((features - 1) // _STRIDE), width)

    def forward(self, x: Tensor) -> Tensor:
        if is_traced():
            return self._halved(x)
        step, reach = _PART * _STRIDE, _WINDOW - _STRIDE
        starts = range(0, x.shape[1] - _WINDOW + 1, step)
        return torch.cat([self._halved(x[:, at : at + step + reach]) for at in starts], dim=1)

    def _halved(self, x: Tensor) -> Tensor:
        image = self.convolution(x[:, None]).relu()
        return self.project(image.transpose(1, 2).flatten(2)) * self.scale  # type: ignore[no-any-return]


class Attention(nn.Module):
    """score(i, j) = ((q_i + u) . k_j + (q_i + v) . p_j) / sqrt(d), p_j of the key's place: as keys
    k_j + p_j and a bias of each key."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.position = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, head_width(width, heads)))
        self.position_bias = nn.Parameter(torch.zeros(heads, head_width(width, heads)))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, places: Tensor, visible: Tensor | None) -> Tensor:
        """places (n, width), visible (rows, n)."""
        rows, frames, _ = x.shape
        projected = self.query_key_value(x).view(rows, frames, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        place = self.position(places).view(frames, self.heads, -1).transpose(0, 1)
        bias = key @ self.content_bias[:, :, None] + place @ self.position_bias[:, :, None]
        bias = bias.transpose(-2, -1) * query.shape[-1] ** -0.5
        if visible is not None:
            bias = bias.masked_fill(~visible[:, None, None], -torch.inf)
        bias = bias.expand(-1, -1, frames, -1)
        attended = F.scaled_dot_product_attention(query, key + place, value, attn_mask=bias)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Convolution(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.contract = nn.Linear(width, width)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        x = F.glu(self.expand(_masked(x, visible)), dim=-1)
        x = F.silu(self.norm(self.depthwise(x.transpose(-2, -1)).transpose(-2, -1)))
        return _masked(self.contract(x), visible)


class Block(nn.Module):
    def __init__(self, config: ConditionerConfig) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, config.heads)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolution = Convolution(width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, config.hidden)
        self.contract = nn.Linear(config.hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, places: Tensor, visible: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), places, visible)
        x = x + self.convolution(self.convolution_norm(x), visible)
        x = x + self.contract(F.silu(self.expand(self.feed_forward_norm(x))))
        return self.norm(x)  # type: ignore[no-any-return]


class Conformer(nn.Module):
    def __init__(self, features: int, config: ConditionerConfig) -> None:
        super().__init__()
        self.input = Halving(features, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (rows, n, features), n >= 3; valid (rows, n) boolean, None where all frames are.

        Returns (rows, (n - 1) // 2, width), and which of those frames are valid.
        """
        visible = None if valid is None else valid[:, 2::2]
        x = self.input(x)
        frames, width = x.shape[1:]
        places = sinusoid(frames - 1, 0, width).flip(0).to(x)
        for block in self.blocks:
            x = block(x, places, visible)
        return self.norm(x), visible


def _masked(x: Tensor, visible: Tensor | None) -> Tensor:
    return x if visible is None else x * visible[..., None]

"""w2v-BERT 2.0 (Seamless, arXiv:2312.05187): a Conformer over 50 frames a second.

Only as many layers are built as are read: the hidden state of a middle layer holds what is said and
how. Everything is time-major, (rows, frames, channels).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.indextts2.heads import head_width
from tritone.families.indextts2.reference_config import W2vBertConfig


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.silu(self.expand(self.norm(x))))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention whose scores have a term for the distance of the key, clipped at both ends:
    (q_i . k_j + q_i . e(j - i)) / sqrt(d)."""

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.left, self.right = config.heads, config.left, config.right
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.distance = nn.Parameter(
            torch.zeros(config.left + config.right + 1, head_width(width, config.heads))
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        rows, frames, _ = x.shape
        projected = self.query_key_value(self.norm(x)).view(rows, frames, 3, self.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        bias = self._by_distance(query).masked_fill(~valid[:, None, None], -torch.inf)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _by_distance(self, query: Tensor) -> Tensor:
        """(rows, heads, n, d) queries -> (rows, heads, n, n) scaled scores of the distances."""
        rows, heads, frames, width = query.shape
        scores = query @ (self.distance * width**-0.5).transpose(-2, -1)
        place = torch.arange(frames, device=query.device)
        distance = (place - place[:, None]).clamp(-self.left, self.right) + self.left
        return scores.gather(3, distance.expand(rows, heads, -1, -1))  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """Gated convolution over a frame and those before it."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width, bias=False)
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width, bias=False)
        self.depthwise_norm = nn.LayerNorm(width)
        self.contract = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = F.glu(self.expand(self.norm(x) * valid[..., None]), dim=-1)
        past = F.pad(x.transpose(-2, -1), (self.kernel - 1, 0))
        x = F.silu(self.depthwise_norm(self.depthwise(past).transpose(-2, -1)))
        return self.contract(x)  # type: ignore[no-any-return]


class Layer(nn.Module):
    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        self.before = FeedForward(config.width, config.hidden)
        self.attention = Attention(config)
        self.convolution = Convolution(config.width, config.kernel)
        self.after = FeedForward(config.width, config.hidden)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, valid)
        x = x + self.convolution(x, valid)
        x = x + 0.5 * self.after(x)
        return self.norm(x)  # type: ignore[no-any-return]


class W2vBert(nn.Module):
    """Stacked filter bank frames to the hidden state of the last layer built, normalised by the
    mean and deviation that the release has of it."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: W2vBertConfig) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(config.inputs)
        self.input = nn.Linear(config.inputs, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.register_buffer("mean", torch.zeros(config.width))
        self.register_buffer("deviation", torch.ones(config.width))

    def hidden_states(self, x: Tensor, valid: Tensor) -> Iterator[Tensor]:
        """(rows, n, width) after the projection, then after each layer; as for `forward`."""
        x = self.input(self.input_norm(x)) * valid[..., None]
        yield x
        for layer in self.layers:
            x = layer(x, valid)
            yield x

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x (rows, n, inputs), valid (rows, n) boolean: False where a frame is padding, which no
        other sees. Returns (rows, n, width), rows for padding too."""
        *_, last = self.hidden_states(x, valid)
        return self.normalised(last)

    def normalised(self, hidden: Tensor) -> Tensor:
        return (hidden - self.mean) / self.deviation

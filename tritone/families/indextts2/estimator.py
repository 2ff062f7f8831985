"""The flow's velocity estimator: a diffusion transformer (Peebles and Xie, 2022) with skips across
it (U-ViT; Bao et al., 2022), and a WaveNet.

Time-major: frames of all rows one behind the other, (frames, channels). Attention is full, so a
frame depends on its whole row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.attention import attend
from tritone.acoustic.cache import Span
from tritone.acoustic.linear import PackableLinear
from tritone.acoustic.rotary import rotary_frequencies, turned, turns
from tritone.families.indextts2.acoustic_config import EstimatorConfig, FlowConfig
from tritone.families.indextts2.rows import Rows
from tritone.families.indextts2.wavenet import WaveNet

TIME_WAVES = 128
RMS_EPS, NORM_EPS = 1e-5, 1e-6

Change = tuple[Tensor, Tensor]
"""Scale and shift of normed frames, (channels,) each."""


def time_frequencies() -> Tensor:
    """Radians of each wave a thousandth of the ODE's time, (TIME_WAVES,)."""
    return torch.exp(-math.log(10000.0) * torch.arange(TIME_WAVES) / TIME_WAVES)


@dataclass(frozen=True)
class TimeChanges:
    """What one ODE time does to the layers; it depends on the weights alone.

    blocks: of each its attention's and its feed-forward layer's. end: after the blocks. gates: of
    each WaveNet layer, (2 * channels,). final: before the last projection.
    """

    blocks: tuple[tuple[Change, Change], ...]
    end: Change
    gates: tuple[Tensor, ...]
    final: Change


class TimeEmbedding(nn.Module):
    """Waves of the ODE's time, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2 * TIME_WAVES, width)
        self.project = nn.Linear(width, width)

    def forward(self, t: float) -> Tensor:
        """(width,) in float32: the waves' argument is 1000 t, which a short mantissa gets wrong by
        whole radians."""
        angle = 1000.0 * torch.tensor(t) * time_frequencies()
        waves = torch.cat([angle.cos(), angle.sin()]).to(self.expand.weight.device)
        return in_float32(self.project, F.silu(in_float32(self.expand, waves)))


class AdaptiveNorm(nn.Module):
    """Root-mean-square norm, scaled and shifted by the ODE time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.time = nn.Linear(width, 2 * width)

    def changes(self, embedding: Tensor) -> Change:
        """Computed in float32, in the precision of the weights."""
        scale, shift = in_float32(self.time, embedding).chunk(2)
        dtype = self.gain.dtype
        return (scale * self.gain.float()).to(dtype), shift.to(dtype)

    def forward(self, x: Tensor, change: Change) -> Tensor:
        scale, shift = change
        return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=RMS_EPS), scale)


class Block(nn.Module):
    """Self-attention and a gated feed-forward layer. joins: whether an earlier block's output is
    joined to its input."""

    def __init__(self, config: EstimatorConfig, *, joins: bool) -> None:
        super().__init__()
        width, hidden = config.width, config.feed_forward
        self.heads = config.heads
        self.join = PackableLinear(2 * width, width) if joins else None
        self.attention_norm = AdaptiveNorm(width)
        self.query_key_value = PackableLinear(width, 3 * width, bias=False)
        self.output = PackableLinear(width, width, bias=False)
        self.feed_forward_norm = AdaptiveNorm(width)
        self.expand = PackableLinear(width, 2 * hidden, bias=False)
        self.contract = PackableLinear(hidden, width, bias=False)

    def forward(
        self, x: Tensor, changes: tuple[Change, Change], turn: tuple[Tensor, Tensor], rows: Rows
    ) -> Tensor:
        """turn: as `turned` takes it, for (frames, 2, heads, channels)."""
        x = x + self._attend(self.attention_norm(x, changes[0]), turn, rows)
        gate, up = self.expand(self.feed_forward_norm(x, changes[1])).chunk(2, dim=1)
        return x + self.contract(F.silu(gate).mul_(up))  # type: ignore[no-any-return]

    def changes(self, embedding: Tensor) -> tuple[Change, Change]:
        return self.attention_norm.changes(embedding), self.feed_forward_norm.changes(embedding)

    def _attend(self, x: Tensor, turn: tuple[Tensor, Tensor], rows: Rows) -> Tensor:
        projected = self.query_key_value(x).view(len(x), 3, self.heads, -1)
        placed, value = turned(projected[:, :2], turn), projected[:, 2]
        parts = zip(*(rows.apart(p) for p in (placed, value)), _audible(rows, x), strict=True)
        attended = [_attended(*part) for part in parts]
        return self.output(attended[0] if len(attended) == 1 else torch.cat(attended))  # type: ignore[no-any-return]


class Estimator(nn.Module):
    """IndexTTS2's DiT: the velocity of mel frames at one ODE time."""

    _frequency_bits: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        part, mel = config.estimator, config.mel
        width, content = part.width, config.regulator.channels
        self.mel, self.channels, self.heads = mel, width, part.heads
        self.time = TimeEmbedding(width)
        self.wavenet_time = TimeEmbedding(width)
        self.content = nn.Linear(content, width)
        self.given = nn.Linear(mel + width + config.style, width)
        self.input = PackableLinear(mel, width, bias=False)
        middle = part.depth // 2
        self.blocks = nn.ModuleList(Block(part, joins=i > middle) for i in range(part.depth))
        self.end_norm = AdaptiveNorm(width)
        self.skip = PackableLinear(width + mel, width)
        self.head = PackableLinear(width, width)
        self.wavenet = WaveNet(
            width, part.wavenet_layers, part.wavenet_kernel, part.wavenet_dilation
        )
        self.residual = PackableLinear(width, width)
        self.final_time = nn.Linear(width, 2 * width)
        self.final = PackableLinear(width, width)
        self.output = PackableLinear(width, mel)
        # as integers, which keep their bits where weights are rounded: angles need float32
        bits = rotary_frequencies(width // part.heads).view(torch.int32)
        self.register_buffer("_frequency_bits", bits, persistent=False)

    @property
    def int8_parts(self) -> list[nn.Module]:
        """The linear layers whose weights may be rounded to int8, among others."""
        return [*self.blocks.modules(), *self.wavenet.modules()]

    @property
    def device(self) -> torch.device:
        return self.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.content.weight.dtype

    def time_changes(self, t: float) -> TimeChanges:
        embedding, dtype = self.time(t), self.dtype
        gates = in_float32(self.wavenet.time, self.wavenet_time(t)).to(dtype)
        shift, scale = in_float32(self.final_time, F.silu(embedding)).chunk(2)
        return TimeChanges(
            blocks=tuple(block.changes(embedding) for block in self._blocks),
            end=self.end_norm.changes(embedding),
            gates=gates.chunk(len(self.wavenet.gates)),
            final=((1 + scale).to(dtype), shift.to(dtype)),
        )

    def conditions(self, prompt: Tensor, content: Tensor, style: Tensor) -> Tensor:
        """What `forward` is given: prompt (frames, mel), zeros where there is none, content
        (frames, regulator channels) and style (frames, style) -> (frames, channels)."""
        return self.given(torch.cat([prompt, self.content(content), style], dim=1))  # type: ignore[no-any-return]

    def forward(
        self,
        x: Tensor,
        given: Tensor,
        changes: TimeChanges,
        rows: Rows,
        unwanted: Sequence[int] | None = None,
    ) -> Tensor:
        """x (frames of all rows, mel) with its conditions -> the velocity of the same frames.

        unwanted: of each row, first frames whose velocity nobody needs; they are left out.
        """
        y = self.transform(self.input(x) + given, changes, rows)
        if unwanted is None:
            return self.finish(y, x, changes, rows)
        # what the WaveNet hears of them stays
        margins = [min(skip, self.wavenet.reach) for skip in unwanted]
        wide, take = rows.without([s - m for s, m in zip(unwanted, margins, strict=True)])
        _, cut = wide.without(margins)
        return cut(self.finish(take(y), take(x), changes, wide))

    def transform(self, x: Tensor, changes: TimeChanges, rows: Rows) -> Tensor:
        """The blocks; the second half has inputs joined to the outputs of the first, last first."""
        turn = self._turn(rows)
        passed: list[Tensor] = []
        for index, (block, own) in enumerate(zip(self._blocks, changes.blocks, strict=True)):
            if block.join is not None:
                x = block.join(torch.cat([x, passed.pop()], dim=1))
            x = block(x, own, turn, rows)
            if index < len(self.blocks) // 2:
                passed.append(x)
        return self.end_norm(x, changes.end)  # type: ignore[no-any-return]

    def finish(self, y: Tensor, x: Tensor, changes: TimeChanges, rows: Rows) -> Tensor:
        """What the blocks made of x, (frames, channels), to the velocity."""
        y = self.skip(torch.cat([y, x], dim=1))
        y = self.wavenet(self.head(y), changes.gates, rows) + self.residual(y)
        scale, shift = changes.final
        normed = F.layer_norm(y, y.shape[-1:], eps=NORM_EPS)
        return self.output(self.final(torch.addcmul(shift, normed, scale)))  # type: ignore[no-any-return]

    @property
    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    def _turn(self, rows: Rows) -> tuple[Tensor, Tensor]:
        frequencies = self._frequency_bits.view(torch.float32)
        cosine, sine = turns(rows.positions(self.device)[None], frequencies)[:, 0, :, None, None]
        return cosine, sine


def in_float32(layer: nn.Linear, x: Tensor) -> Tensor:
    """A layer's product, whatever the precision of its weights."""
    return F.linear(x, layer.weight.float(), layer.bias.float())


def _attended(placed: Tensor, value: Tensor, audible: Tensor | None) -> Tensor:
    """placed (rows, n, 2, heads, d), value (rows, n, heads, d) -> (rows * n, heads * d)."""
    # in float32 the kernel takes half as long again where frames of a head lie apart
    query, key = placed.permute(2, 0, 3, 1, 4).contiguous()
    value = value.transpose(1, 2).contiguous()
    attended = attend(query, [Span(key, value)], [audible])
    return attended.transpose(1, 2).flatten(2).flatten(0, 1)


def _audible(rows: Rows, x: Tensor) -> list[Tensor | None]:
    """Of each group of rows which keys may be heard, (rows, 1, 1, n); None for all."""
    filling = rows.filling(x.device)
    if filling is None:
        return [None] * len(rows.apart(x))
    return [~part[:, None, None] for part in rows.apart(filling)]

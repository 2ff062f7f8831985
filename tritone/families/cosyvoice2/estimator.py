"""The flow's velocity estimator: a causal U-Net of one resolution with transformer blocks.

Everything is time-major, (rows, frames, channels).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.activation import mish
from tritone.acoustic.estimator import EstimatorState, Pass, StreamsPass
from tritone.acoustic.fused.products import added_product, normed_product
from tritone.acoustic.fused.rows import mish_sum
from tritone.acoustic.fused.run import FusedPass
from tritone.acoustic.linear import CausalConv1d, PackableLinear
from tritone.families.cosyvoice2.config import FlowConfig

KERNEL = 3
INPUTS = 4  # x, mu, speaker and prompt mel, side by side on the channel axis


class CausalBlock(nn.Module):
    """Causal convolution, LayerNorm over channels, Mish."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(in_channels, channels, KERNEL)
        self.norm = nn.LayerNorm(channels, eps=1e-5)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        return run.masked(mish(self.norm(run.convolve(self.conv, x))))


class ResnetBlock(nn.Module):
    """Two causal blocks with the time embedding added in between, and a 1x1 residual."""

    def __init__(self, in_channels: int, channels: int, time_width: int) -> None:
        super().__init__()
        self.time = nn.Linear(time_width, channels)
        self.block1 = CausalBlock(in_channels, channels)
        self.block2 = CausalBlock(channels, channels)
        self.residual = PackableLinear(in_channels, channels)

    def forward(self, x: Tensor, shift: Tensor, run: Pass) -> Tensor:
        if isinstance(run, FusedPass):
            return self._fused(x, shift, run)
        y = self.block1(x, run) + shift
        return self.residual.added_to(self.block2(y, run), run.masked(x))

    def _fused(self, x: Tensor, shift: Tensor, run: FusedPass) -> Tensor:
        first, second = self.block1, self.block2
        y, residual = run.convolve_beside(first.conv, x, self.residual)
        y = run.convolve_normed(second.conv, y, first.norm, shift)
        norm = second.norm
        return mish_sum(y, norm.weight, norm.bias, norm.eps, residual)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and GELU feed-forward."""

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.attention_norm = nn.LayerNorm(channels, eps=1e-5)
        self.query_key_value = PackableLinear(channels, 3 * inner, bias=False)
        self.output = PackableLinear(inner, channels)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=1e-5)
        self.expand = PackableLinear(channels, 4 * channels, gelu=True)
        self.contract = PackableLinear(4 * channels, channels)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        if isinstance(run, FusedPass):
            return self._fused(x, run)
        projected = self.query_key_value(self.attention_norm(x))
        query, key, value = projected.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = run.attend(query, key, value)
        x = self.output.added_to(x, attended.transpose(1, 2).flatten(2))
        return self.contract.added_to(x, self.expand(self.feed_forward_norm(x)))

    def _fused(self, x: Tensor, run: FusedPass) -> Tensor:
        attended = run.attend_normed(x, self.attention_norm, self.query_key_value)
        x = added_product(attended, self.output.weight, self.output.bias, x)
        norm, expand, contract = self.feed_forward_norm, self.expand, self.contract
        norms = (norm.weight, norm.bias, norm.eps)
        y = normed_product(x, *norms, expand.weight, expand.bias, mish=False, gelu=True)
        return added_product(y, contract.weight, contract.bias, x)


class Stage(nn.Module):
    """A resnet block and its transformer blocks."""

    def __init__(self, in_channels: int, config: FlowConfig) -> None:
        super().__init__()
        part = config.estimator
        self.resnet = ResnetBlock(in_channels, part.channels, 4 * part.channels)
        self.transformers = nn.ModuleList(
            TransformerBlock(part.channels, part.num_heads, part.attention_head_dim)
            for _ in range(part.n_blocks)
        )

    def forward(self, x: Tensor, shift: Tensor, run: Pass) -> Tensor:
        x = self.resnet(x, shift, run)
        for transformer in self.transformers:
            x = transformer(x, run)
        return x


class Estimator(nn.Module):
    """CosyVoice2's CausalConditionalDecoder: velocity of (rows, frames, mel) at one ODE time.

    A `tritone.acoustic.estimator.VelocityEstimator`, which says what its members give and take.
    """

    tail_frames = KERNEL - 1

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        part, mel = config.estimator, config.output_size
        channels, time_width = part.channels, 4 * part.channels
        self.channels, self.heads, self.head_dim = channels, part.num_heads, part.attention_head_dim
        self.mel_bins, self.condition_channels = mel, (INPUTS - 1) * mel
        self.chunk_frames = config.chunk_size * config.token_mel_ratio
        self.time_expand = nn.Linear(INPUTS * mel, time_width)
        self.time_project = nn.Linear(time_width, time_width)
        self.down = Stage(INPUTS * mel, config)
        self.down_conv = CausalConv1d(channels, channels, KERNEL)
        self.middle = nn.ModuleList(Stage(channels, config) for _ in range(part.num_mid_blocks))
        self.up = Stage(2 * channels, config)
        self.up_conv = CausalConv1d(channels, channels, KERNEL)
        self.final_block = CausalBlock(channels, channels)
        self.final_projection = PackableLinear(channels, mel)

    def _stages(self) -> list[Stage]:
        return [self.down, *self.middle, self.up]

    def time_shifts(self, t: Tensor) -> list[Tensor]:
        """What each resnet block adds at ODE time t (rows,): one (rows, 1, channels) a block.

        In float32 whatever the module's dtype: the sinusoid's argument is 1000 t, which a short
        mantissa gets wrong by whole radians. Depends on t alone, so callers compute it once.
        """
        half = self.time_expand.in_features // 2
        frequency = torch.exp(
            torch.arange(half, device=t.device) * -(math.log(10000.0) / (half - 1))
        )
        angle = 1000.0 * t.float()[:, None] * frequency
        embedding = torch.cat([angle.sin(), angle.cos()], dim=1)

        def linear(layer: nn.Linear, x: Tensor) -> Tensor:
            return F.linear(x, layer.weight.float(), layer.bias.float())

        embedding = linear(self.time_project, F.silu(linear(self.time_expand, embedding)))
        dtype = self.time_expand.weight.dtype
        return [
            linear(stage.resnet.time, F.mish(embedding))[:, None].to(dtype)
            for stage in self._stages()
        ]

    @property
    def int8_parts(self) -> list[nn.Module]:
        return [module for stage in self._stages() for module in stage.modules()]

    @property
    def device(self) -> torch.device:
        return self.final_projection.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.final_projection.weight.dtype

    @property
    def attention_layers(self) -> int:
        return sum(len(stage.transformers) for stage in self._stages())

    @property
    def tail_channels(self) -> list[int]:
        """Channels of the tail of every causal convolution, in the order of the forward pass."""
        stages = self._stages()
        convs = [c for s in stages for c in (s.resnet.block1.conv, s.resnet.block2.conv)]
        convs = [*convs[:2], self.down_conv, *convs[2:], self.up_conv, self.final_block.conv]
        return [conv.in_channels for conv in convs]

    def forward(
        self,
        x: Tensor,
        shifts: Sequence[Tensor],
        padding: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """One pass over everything: x (rows, frames, 4 * mel) -> velocity (rows, frames, mel)."""
        return self.run(x, shifts, Pass(padding, visible))

    def step(
        self,
        x: Tensor,
        shifts: Sequence[Tensor],
        states: Sequence[EstimatorState],
    ) -> tuple[Tensor, list[EstimatorState]]:
        """The next chunk of some streams, or several."""
        run = StreamsPass(states, None)
        y = self.run(x, shifts, run)
        return y, run.advanced(x.shape[1])

    def run(self, x: Tensor, shifts: Sequence[Tensor], run: Pass) -> Tensor:
        down_shift, *middle_shifts, up_shift = shifts
        x = skip = self.down(x, down_shift, run)
        x = run.convolve(self.down_conv, x)
        for stage, shift in zip(self.middle, middle_shifts, strict=True):
            x = stage(x, shift, run)
        x = self.up(torch.cat([x, skip], dim=2), up_shift, run)
        x = run.convolve(self.up_conv, x)
        if isinstance(run, FusedPass):
            return self._projected(run.convolve(self.final_block.conv, x))
        x = self.final_block(x, run)
        return run.masked(self.final_projection(run.masked(x)))

    def _projected(self, x: Tensor) -> Tensor:
        """The end of a fused pass, from the last convolution on."""
        norm, last = self.final_block.norm, self.final_projection
        norms = (norm.weight, norm.bias, norm.eps)
        return normed_product(x, *norms, last.weight, last.bias, mish=True, gelu=False)

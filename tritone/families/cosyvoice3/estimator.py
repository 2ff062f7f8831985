"""The flow's velocity estimator: a diffusion transformer, conditioned on time by its norms.

Everything is time-major, (rows, frames, channels).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.activation import mish
from tritone.acoustic.estimator import EstimatorState, Pass, StreamsPass
from tritone.acoustic.fused.rows import gated_norm, scaled_norm
from tritone.acoustic.fused.run import FusedPass
from tritone.acoustic.linear import GroupedCausalConv1d, PackableLinear
from tritone.acoustic.rotary import Turn, complex_turn, rotary_frequencies, turned, turns
from tritone.families.cosyvoice3.config import FlowConfig

INPUTS = 4  # x, mu, speaker and prompt mel, side by side on the channel axis
KERNEL, GROUPS = 31, 16
TIME_WAVES = 128
BLOCK_SHIFTS = 6  # shift, scale and gate of the attention, then of the feed-forward layer
FINAL_SHIFTS = 2  # scale, then shift


class PositionLayer(nn.Module):
    """Two causal convolutions, from whose past a frame knows where it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(GroupedCausalConv1d(width, KERNEL, GROUPS) for _ in range(2))

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        y = x
        for conv in self.convs:
            y = mish(run.convolve(conv, y))  # type: ignore[arg-type]
        return x + y


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each shifted, scaled and gated by the ODE time.

    The positions turn the first head alone: the others know of them by the convolutions before.
    """

    def __init__(self, width: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.heads = heads
        self.time = nn.Linear(width, BLOCK_SHIFTS * width)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.query_key_value = PackableLinear(width, 3 * inner)
        self.output = PackableLinear(inner, width)
        self.expand = PackableLinear(width, hidden)
        self.contract = PackableLinear(hidden, width)

    def forward(self, x: Tensor, shifts: Sequence[Tensor], turn: Turn, run: Pass) -> Tensor:
        """turn: as `turned` takes it, for (rows, frames, 2, channels)."""
        shift, scale, gate, *of_feed_forward = shifts
        attended = self._attend(torch.addcmul(shift, self.norm(x), scale), turn, run)
        x = torch.addcmul(x, gate, attended)
        shift, scale, gate = of_feed_forward
        y = self.expand(torch.addcmul(shift, self.norm(x), scale))
        return torch.addcmul(x, gate, self.contract(F.gelu(y, approximate="tanh")))

    def _attend(self, x: Tensor, turn: Turn, run: Pass) -> Tensor:
        projected = self.query_key_value(x).view(*x.shape[:2], 3, self.heads, -1)
        placed, value = projected[:, :, :2], projected[:, :, 2]
        placed = torch.cat([turned(placed[..., :1, :], turn), placed[..., 1:, :]], dim=3)
        query, key = placed.permute(2, 0, 3, 1, 4)
        attended = run.attend(query, key, value.transpose(1, 2))
        return self.output(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Estimator(nn.Module):
    """CosyVoice3's DiT: velocity of (rows, frames, mel) at one ODE time.

    A `tritone.acoustic.estimator.VelocityEstimator`, which says what its members give and take.
    """

    tail_frames = KERNEL - 1
    _frequency_bits: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        part, mel = config.estimator, config.output_size
        if part.dim_head % 2:
            raise ValueError(f"dim_head is {part.dim_head}; channels are turned in pairs")
        width = part.dim
        self.channels, self.heads, self.head_dim = width, part.heads, part.dim_head
        self.mel_bins, self.condition_channels = mel, (INPUTS - 1) * mel
        self.chunk_frames = config.chunk_size * config.token_mel_ratio
        self.time_expand = nn.Linear(2 * TIME_WAVES, width)
        self.time_project = nn.Linear(width, width)
        self.input = PackableLinear(INPUTS * mel, width)
        self.position = PositionLayer(width)
        self.blocks = nn.ModuleList(
            Block(width, part.heads, part.dim_head, part.ff_mult * width) for _ in range(part.depth)
        )
        self.final_time = nn.Linear(width, FINAL_SHIFTS * width)
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.final_projection = PackableLinear(width, mel)
        # as integers, which keep their bits where weights are rounded: angles need float32
        bits = rotary_frequencies(part.dim_head).view(torch.int32)
        self.register_buffer("_frequency_bits", bits, persistent=False)

    def time_shifts(self, t: Tensor) -> list[Tensor]:
        """In float32 whatever the module's dtype: the sinusoid's argument is 1000 t, which a short
        mantissa gets wrong by whole radians. One is added to the scales here, once for all."""
        step = -math.log(10000.0) / (TIME_WAVES - 1)
        frequency = torch.exp(torch.arange(TIME_WAVES, device=t.device) * step)
        angle = 1000.0 * t.float()[:, None] * frequency
        embedding = torch.cat([angle.sin(), angle.cos()], dim=1)

        def linear(layer: nn.Linear, x: Tensor) -> Tensor:
            return F.linear(x, layer.weight.float(), layer.bias.float())

        embedding = F.silu(linear(self.time_expand, embedding))
        embedding = F.silu(linear(self.time_project, embedding))[:, None]
        shifts: list[Tensor] = []
        for block in self.blocks:
            shift, scale, gate, *later = linear(block.time, embedding).chunk(BLOCK_SHIFTS, dim=2)  # type: ignore[arg-type]
            shifts += [shift, 1 + scale, gate, later[0], 1 + later[1], later[2]]
        scale, shift = linear(self.final_time, embedding).chunk(FINAL_SHIFTS, dim=2)
        return [x.to(self.dtype) for x in (*shifts, 1 + scale, shift)]

    @property
    def int8_parts(self) -> list[nn.Module]:
        return list(self.blocks.modules())

    @property
    def device(self) -> torch.device:
        return self.final_projection.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.final_projection.weight.dtype

    @property
    def attention_layers(self) -> int:
        return len(self.blocks)

    @property
    def tail_channels(self) -> list[int]:
        return [self.channels] * len(self.position.convs)

    def forward(
        self, x: Tensor, shifts: Sequence[Tensor], *, visible: Tensor | None = None
    ) -> Tensor:
        return self.run(x, shifts, Pass(None, visible))

    def step(
        self, x: Tensor, shifts: Sequence[Tensor], states: Sequence[EstimatorState]
    ) -> tuple[Tensor, list[EstimatorState]]:
        run = StreamsPass(states, None)
        y = self.run(x, shifts, run)
        return y, run.advanced(x.shape[1])

    def run(
        self, x: Tensor, shifts: Sequence[Tensor], run: Pass, turn: Tensor | None = None
    ) -> Tensor:
        """turn: the `turns` at the positions of x, given in graphs, which do not know them."""
        if turn is None:
            by_pair = run.once("turn", lambda: self._turn(run.positions(x)))
        else:
            by_pair = _by_pair(turn)
        x = self.position(self.input(x), run)
        if isinstance(run, FusedPass):
            return self._fused(x.contiguous(), shifts, by_pair, run)
        for number, block in enumerate(self.blocks):
            own = slice(BLOCK_SHIFTS * number, BLOCK_SHIFTS * (number + 1))
            x = block(x, shifts[own], by_pair, run)
        scale, shift = shifts[-FINAL_SHIFTS:]
        return self.final_projection(torch.addcmul(shift, self.norm(x), scale))  # type: ignore[no-any-return]

    def _fused(self, x: Tensor, shifts: Sequence[Tensor], turn: Turn, run: FusedPass) -> Tensor:
        """Each gate and sum goes with the norm after it, which is the next block's or the last."""
        assert isinstance(turn, Tensor), "only what is trained or exported has cosine and sine"
        (shift, scale, *inner), eps = shifts[:BLOCK_SHIFTS], self.norm.eps
        y = scaled_norm(x, scale, shift, eps)
        for number, block in enumerate(self.blocks, 1):
            gate, *norm, last_gate = inner
            y = block.output(run.attend_turned(block.query_key_value(y), turn))  # type: ignore[operator]
            x, y = gated_norm(x, gate, y, norm[1], norm[0], eps)
            y = block.contract(F.gelu(block.expand(y), approximate="tanh"))  # type: ignore[operator]
            one, other, *inner = shifts[BLOCK_SHIFTS * number :][:BLOCK_SHIFTS]
            is_last = number == len(self.blocks)
            scale, shift = (one, other) if is_last else (other, one)
            x, y = gated_norm(x, last_gate, y, scale, shift, eps)
        return self.final_projection(y)  # type: ignore[no-any-return]

    def _turn(self, positions: Tensor) -> Turn:
        return _by_pair(turns(positions, self._frequency_bits.view(torch.float32)))


def _by_pair(turn: Tensor) -> Turn:
    """What `turns` gives, for (rows, frames, 2, heads, channels)."""
    return complex_turn(*turn[:, :, :, None, None].unbind())

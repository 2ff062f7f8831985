"""Upsampling conformer encoder: token embeddings at 25 Hz to features at 50 Hz."""

from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.attention import RelativeAttention
from tritone.acoustic.cache import KeyValueStore
from tritone.acoustic.linear import CausalConv1d, PackableLinear, WindowLinear
from tritone.families.cosyvoice2.config import FlowConfig

UPSAMPLE_KERNEL = 5
LOOKAHEAD_KERNEL = 3


@dataclass(frozen=True)
class EncoderState:
    """What a stream carries from chunk to chunk; the stores are written in place.

    lookahead_tail: (1, 2, width) inputs of the look-ahead layer's second convolution.
    upsample_tail: (1, 4, width) repeated frames before the upsampling convolution.
    """

    lookahead_tail: Tensor
    upsample_tail: Tensor
    tokens: KeyValueStore
    frames: KeyValueStore

    def fork(self) -> "EncoderState":
        return replace(self, tokens=self.tokens.fork(), frames=self.frames.fork())

    @property
    def nbytes(self) -> int:
        return self.tokens.nbytes + self.frames.nbytes


class InputLayer(nn.Module):
    """Linear, LayerNorm and a factor of sqrt(width); no absolute position is added."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.linear = PackableLinear(in_width, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.scale = width**0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x)) * self.scale  # type: ignore[no-any-return]


class LookaheadLayer(nn.Module):
    """Lets each token see the next ones: convolution ahead, convolution back, residual."""

    def __init__(self, width: int, hidden: int, lookahead: int) -> None:
        super().__init__()
        self.ahead = WindowLinear(width, hidden, lookahead + 1)
        self.back = CausalConv1d(hidden, width, LOOKAHEAD_KERNEL)
        self.lookahead = lookahead

    def forward(self, x: Tensor, context: Tensor, tail: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (rows, n, width), context (rows, <= lookahead, width): the tokens after x; tail
        (rows, 2, hidden): see `CausalConv1d`.

        What the context lacks is zeros, not embedded padding.
        """
        missing = self.lookahead - context.shape[1]
        ahead = torch.cat([x, context], dim=1)
        if missing:
            ahead = F.pad(ahead, (0, 0, 0, missing))
        y, tail = self.back.step(F.leaky_relu(self.ahead(ahead), 0.01), tail)
        return x + y, tail


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = PackableLinear(width, hidden)
        self.contract = PackableLinear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(F.silu(self.expand(x)))  # type: ignore[no-any-return]


class EncoderBlock(nn.Module):
    """Pre-norm attention and feed-forward; no macaron half, no convolution module."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.attention = RelativeAttention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-12)
        self.feed_forward = FeedForward(width, hidden)

    def forward(
        self,
        x: Tensor,
        store: KeyValueStore | None,
        layer: int,
        mask: Tensor | None,
        positions: Tensor | None = None,
    ) -> Tensor:
        x = x + self.attention(self.attention_norm(x), store, layer, mask, positions)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class UpsampleEncoder(nn.Module):
    """CosyVoice2's UpsampleConformerEncoder, with every width taken from the configuration."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        part = config.encoder
        width, heads = part.output_size, part.attention_heads
        self.width, self.heads, self.repeat = width, heads, config.token_mel_ratio
        self.input = InputLayer(config.input_size, width)
        self.lookahead = LookaheadLayer(width, width, config.pre_lookahead_len)
        self.blocks = nn.ModuleList(
            EncoderBlock(width, heads, part.linear_units) for _ in range(part.num_blocks)
        )
        self.upsample = CausalConv1d(width, width, UPSAMPLE_KERNEL)
        self.upsampled_input = InputLayer(width, width)
        self.upsampled_blocks = nn.ModuleList(
            EncoderBlock(width, heads, part.linear_units) for _ in range(part.num_up_blocks)
        )
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def start(self, chunk: int, left_chunks: int, dtype: torch.dtype) -> EncoderState:
        """An empty state; `chunk` in tokens, `left_chunks` as in KeyValueStore."""
        zeros = self.norm.weight.new_zeros
        store = partial(
            KeyValueStore,
            rows=1,
            heads=self.heads,
            head_dim=self.width // self.heads,
            left_chunks=left_chunks,
            dtype=dtype,
            device=self.norm.weight.device,
        )
        return EncoderState(
            zeros(1, LOOKAHEAD_KERNEL - 1, self.width),
            zeros(1, UPSAMPLE_KERNEL - 1, self.width),
            store(len(self.blocks), chunk=chunk),
            store(len(self.upsampled_blocks), chunk=chunk * self.repeat),
        )

    def forward(
        self, x: Tensor, context: Tensor, masks: tuple[Tensor | None, Tensor | None] = (None, None)
    ) -> Tensor:
        """One pass over everything.

        x (rows, n, input_size), context (rows, c, input_size) with c <= look-ahead; masks at
        token and at frame rate, None for full attention. Returns (rows, n * repeat, width).
        """
        token_mask, frame_mask = masks
        x, _ = self.lookahead(self.input(x), self.input(context), None)
        for block in self.blocks:
            x = block(x, None, 0, token_mask)
        x, _ = self.upsample.step(x.repeat_interleave(self.repeat, dim=1))
        x = self.upsampled_input(x)
        for block in self.upsampled_blocks:
            x = block(x, None, 0, frame_mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def step(self, x: Tensor, context: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """The next chunk, x (1, n, input_size), given what `state` holds of the past."""
        return self.step_embedded(self.input(x), self.input(context), state)

    def step_embedded(
        self,
        x: Tensor,
        context: Tensor,
        state: EncoderState,
        masks: tuple[Tensor | None, Tensor | None] = (None, None),
        positions: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> tuple[Tensor, EncoderState]:
        """`step` after the input layer: x (rows, n, width) and context (rows, c, width).

        masks and positions, at token and at frame rate, as `RelativeAttention` takes them.
        """
        x, lookahead_tail = self.lookahead(x, context, state.lookahead_tail)
        for layer, block in enumerate(self.blocks):
            x = block(x, state.tokens, layer, masks[0], positions[0])
        state.tokens.advance(x.shape[1])
        x, upsample_tail = self.upsample.step(
            x.repeat_interleave(self.repeat, dim=1), state.upsample_tail
        )
        x = self.upsampled_input(x)
        for layer, block in enumerate(self.upsampled_blocks):
            x = block(x, state.frames, layer, masks[1], positions[1])
        state.frames.advance(x.shape[1])
        carried = EncoderState(lookahead_tail, upsample_tail, state.tokens, state.frames)
        return self.norm(x), carried

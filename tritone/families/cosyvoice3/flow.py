"""The flow's network: codes, looked ahead and repeated, and the velocity estimator."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tritone.acoustic.solver import StreamState
from tritone.families.cosyvoice2.code_network import Masks, project_speaker
from tritone.families.cosyvoice2.encoder import LOOKAHEAD_KERNEL, LookaheadLayer
from tritone.families.cosyvoice3.config import FlowConfig
from tritone.families.cosyvoice3.estimator import Estimator


@dataclass(frozen=True)
class LookaheadState:
    """What a stream carries from chunk to chunk beside the solver's part.

    tail: (1, 2, lookahead_channels) inputs of the look-ahead layer's second convolution.
    """

    tail: Tensor

    @property
    def nbytes(self) -> int:
        return 0  # no keys or values

    def fork(self) -> "LookaheadState":
        return self


class FlowNetwork(nn.Module):
    """Everything with weights between speech codes and mel.

    A `tritone.families.cosyvoice2.code_network.CodeNetwork`: what its methods give stands there.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config, mel = config, config.output_size
        self.token_embedding = nn.Embedding(config.vocab_size, mel)
        self.speaker_projection = nn.Linear(config.spk_embed_dim, mel)
        self.lookahead = LookaheadLayer(mel, config.lookahead_channels, config.pre_lookahead_len)
        self.estimator = Estimator(config)

    def project_speaker(self, embedding: Tensor) -> Tensor:
        return project_speaker(self.speaker_projection, embedding)

    def start(self, left_chunks: int, dtype: torch.dtype) -> LookaheadState:
        shape = (1, LOOKAHEAD_KERNEL - 1, self.config.lookahead_channels)
        return LookaheadState(self.token_embedding.weight.new_zeros(shape))

    def encode(self, codes: Tensor, context: Tensor, masks: Masks) -> Tensor:
        """The same for all masks: nothing attends before the estimator."""
        return self._features(codes, context, None)[0]

    def encode_chunk(
        self, codes: Tensor, context: Tensor, state: StreamState
    ) -> tuple[Tensor, LookaheadState]:
        assert isinstance(state, LookaheadState)
        mu, tail = self._features(codes, context, state.tail)
        return mu, LookaheadState(tail)

    def _features(
        self, codes: Tensor, context: Tensor, tail: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        embedded = (self.token_embedding(part)[None] for part in (codes, context))
        x, tail = self.lookahead(*embedded, tail)
        return x[0].repeat_interleave(self.config.token_mel_ratio, dim=0), tail

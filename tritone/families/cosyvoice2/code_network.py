"""What the flow asks of a network: any that makes mu of codes fits `.flow.Flow`."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.estimator import VelocityEstimator
from tritone.acoustic.solver import StreamState
from tritone.acoustic.solver_config import SolverConfig

Masks = tuple[Tensor | None, Tensor | None]
"""At token and at frame rate: which of (n, n) each may see, None for full attention."""


class FlowNumbers(Protocol):
    """What a flow's configuration has whatever its network is."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def spk_embed_dim(self) -> int: ...
    @property
    def output_size(self) -> int: ...
    @property
    def token_mel_ratio(self) -> int: ...
    @property
    def pre_lookahead_len(self) -> int: ...
    @property
    def chunk_size(self) -> int: ...
    @property
    def solver(self) -> SolverConfig: ...


class CodeNetwork(Protocol):
    """A network from codes to the estimator's conditions, mu above all, and the estimator.

    codes: (n,), context: (c,) the codes after them, c <= look-ahead; mu: (n * token_mel_ratio,
    mel). The estimator takes mel, mu, speaker and prompt mel in this order.
    """

    @property
    def config(self) -> FlowNumbers: ...

    @property
    def estimator(self) -> VelocityEstimator: ...

    def project_speaker(self, embedding: Tensor) -> Tensor:
        """(spk_embed_dim,) raw speaker vector -> (1, mel)."""

    def start(self, left_chunks: int, dtype: torch.dtype) -> StreamState:
        """What a new stream carries; arguments as in KeyValueStore."""

    def encode(self, codes: Tensor, context: Tensor, masks: Masks) -> Tensor:
        """mu of everything in one pass."""

    def encode_chunk(
        self, codes: Tensor, context: Tensor, state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """mu of a stream's next chunk, and what the stream carries then."""


def project_speaker(layer: nn.Linear, embedding: Tensor) -> Tensor:
    """See `CodeNetwork`."""
    return layer(F.normalize(embedding[None].to(layer.weight), dim=1))  # type: ignore[no-any-return]

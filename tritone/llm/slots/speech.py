"""What the scheduler asks of a language model beside its session: how a generation begins, what it
reads, and what each token is read as. Here too is that of a Qwen2 with speech ids."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.config import SpeechRows, SpokenConfig
from tritone.llm.contract import GenerationRequest
from tritone.llm.generation import Stream
from tritone.llm.request_check import check_generation
from tritone.llm.sampler import Sampler


class Speech(Protocol):
    """llm: which rows of the head are codes, and what is told beside them."""

    @property
    def llm(self) -> SpeechRows: ...

    def stream(self, request: GenerationRequest, positions: int) -> Stream:
        """The start of a generation in a slot of so many positions. Raises InvalidRequest for what
        cannot be served."""
        ...

    def rows(self, ids: Int32) -> Float32:
        """(n, hidden) of the (n,) ids of a prompt."""
        ...

    def last_rows(self, streams: Sequence[Stream]) -> Float32:
        """(n, width) of the last tokens of n streams, as the session takes them in a step."""
        ...


class QwenSpeech:
    """`Speech` whose tokens are rows of a table wherever they stand."""

    def __init__(self, embed: EmbeddingTable, config: SpokenConfig) -> None:
        self.rows, self.llm, self._sampling = embed, config.llm, config.sampling

    def stream(self, request: GenerationRequest, positions: int) -> Stream:
        check_generation(request, self.llm, positions)
        sampler = Sampler(
            self._sampling,
            request.sampling,
            waiting=self.llm.waiting_rows,
            min_tokens=request.min_tokens,
        )
        return Stream.of(request, sampler, self.llm)

    def last_rows(self, streams: Sequence[Stream]) -> Float32:
        return self.rows(np.array([stream.last_id for stream in streams], np.int32))

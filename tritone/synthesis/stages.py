"""The seam between the pipeline and what runs the models: Triton, this process, or fakes."""

from collections.abc import Iterator
from typing import Protocol

from tritone.arrays import Float32
from tritone.llm.contract import Generation, GenerationRequest, Increment
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice


class FlowSession(Protocol):
    """One segment's way through the flow."""

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        """Take new tokens; return the acoustic frames that became final, (bins, frames)."""
        ...

    def close(self) -> None:
        """Free what the session holds; safe after an error and when called twice."""
        ...


class VocoderSession(Protocol):
    """One segment's way through the vocoder."""

    def step(self, frames: Float32, *, finalize: bool) -> Float32:
        """Take new frames, (bins, frames); return the samples that are ready."""
        ...


class Stages(Protocol):
    """What the pipeline needs; called from several threads."""

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]: ...

    def generate(self, request: GenerationRequest) -> Generation: ...

    def open_flow(self, voice: Voice, *, streaming: bool) -> FlowSession: ...

    def open_vocoder(self, *, seed: int, speed: float) -> VocoderSession: ...

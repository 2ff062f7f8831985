"""From codes to audio chunks as a request goes: the pipeline over flow and vocoder, with codes that
are given."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from indextts2_acoustic import FLOW, VOCODER, flow, vocoder_network

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.acoustics import CodeFlow
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.rules import IndexTTS2Rules
from tritone.families.indextts2.vocoder import Vocoder
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.local.tts import LocalFlowSession, LocalVocoderSession
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.values import AudioChunk, Segment, SynthesisRequest

CODES = 260
NORMAL = np.random.default_rng(0)


def normal(*shape: int) -> Float32:
    return NORMAL.standard_normal(shape).astype(np.float32)


def drawn(count: int) -> Increment:
    ids = NORMAL.integers(0, FLOW.codes, count).astype(np.int32)
    return Increment(ids, normal(count, FLOW.latent_width))


VOICE = Voice(drawn(40).ids, normal(68, FLOW.mel), normal(FLOW.style), normal(2, 3), normal(3))
SPEECH = drawn(CODES)


@dataclass(frozen=True)
class Config:
    sample_rate: int = 86 * VOCODER.samples_per_frame
    flow: FlowConfig = FLOW
    vocoder: VocoderConfig = VOCODER


@dataclass
class Generation:
    """Codes, so many at a time."""

    at_once: int
    cancelled: bool = False

    def __iter__(self) -> Iterator[Increment]:
        for begin in range(0, CODES, self.at_once):
            yield SPEECH[begin : begin + self.at_once]

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Stages:
    flow: FlowStage
    vocoder: VocoderStage
    at_once: int = 1
    asked: list[GenerationRequest] = field(default_factory=list)

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        yield Segment(Prompt(embeddings=normal(5, 3)), 20, request.text, VOICE)

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        return Generation(self.at_once)

    def open_flow(self, voice: Voice, *, streaming: bool) -> LocalFlowSession:
        return LocalFlowSession(self.flow, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> LocalVocoderSession:
        return LocalVocoderSession(self.vocoder, seed=seed, speed=speed)


@pytest.fixture(scope="module")
def stages() -> Stages:
    vocoder = VocoderStage(Vocoder(vocoder_network()))
    return Stages(FlowStage(CodeFlow(flow()), FlowSettings()), vocoder)


def speak(stages: Stages, *, streaming: bool, at_once: int = 1) -> list[AudioChunk]:
    stages.at_once = at_once
    request = SynthesisRequest("Hello.", sampling=SamplingParams(seed=1), streaming=streaming)
    return list(synthesize(request, stages, IndexTTS2Rules(Config(), Hops()), Settings()))


def wave(chunks: list[AudioChunk]) -> Float32:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_a_stream_has_the_samples_of_one_pass(stages: Stages) -> None:
    chunks, whole = speak(stages, streaming=True), speak(stages, streaming=False)
    assert len(whole) == 1 and len(chunks) >= 4
    assert len(wave(chunks)) == len(wave(whole)) == frames_of(CODES) * VOCODER.samples_per_frame
    assert (stages.asked[-1].min_tokens, stages.asked[-1].max_tokens) == (0, 1500)


@pytest.mark.parametrize("at_once", [9, 60, CODES])
def test_equal_requests_sound_alike_however_codes_come(stages: Stages, at_once: int) -> None:
    one, other = (wave(speak(stages, streaming=True, at_once=count)) for count in (1, at_once))
    np.testing.assert_array_equal(one, other)

"""Streams of a fixed length through the pipeline in this process, and how each felt."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.config import ModelConfig
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Generation, GenerationRequest, LanguageModel, SamplingParams
from tritone.local.stages import LocalFlowSession, LocalVocoderSession
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone_client.metrics import StreamMeter, StreamMetrics

TEXT_TOKENS = 25
CODES_PER_SECOND = 25


class BenchStages:
    """`synthesis.stages.Stages` without a frontend: every request is the same prompt and length.

    seconds: of speech, whatever the text. prompt_seconds: of the voice's reference.
    """

    def __init__(
        self,
        config: ModelConfig,
        llm: LanguageModel,
        flow: FlowStage,
        vocoder: VocoderStage,
        *,
        seconds: float,
        prompt_seconds: float = 3.0,
    ) -> None:
        per_text_token = seconds * CODES_PER_SECOND / TEXT_TOKENS
        lengths = {
            "min_tokens_per_text_token": per_text_token,
            "max_tokens_per_text_token": per_text_token,
        }
        sampling = config.sampling.model_copy(update=lengths)
        self.config = config.model_copy(update={"sampling": sampling})
        self.llm, self.flow, self.vocoder = llm, flow, vocoder
        self._segment = some_segment(config, round(prompt_seconds * CODES_PER_SECOND))

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        yield self._segment

    def generate(self, request: GenerationRequest) -> Generation:
        return self.llm.submit(request)

    def open_flow(self, voice: Voice, *, streaming: bool) -> LocalFlowSession:
        return LocalFlowSession(self.flow, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> LocalVocoderSession:
        return LocalVocoderSession(self.vocoder, seed=seed, speed=speed)


def some_segment(config: ModelConfig, prompt_tokens: int, seed: int = 0) -> Segment:
    """A text and a voice of random values, laid out as the language model expects."""
    rng = np.random.default_rng(seed)
    llm, flow = config.llm, config.flow
    codes = rng.integers(0, min(llm.speech_codes, flow.vocab_size), prompt_tokens).astype(np.int32)
    texts = rng.integers(0, min(llm.speech_offset, 1000), 2 * TEXT_TOKENS)
    ids = np.concatenate([[llm.sos_id], texts, [llm.task_id], llm.speech_offset + codes])
    mel_shape = (prompt_tokens * flow.token_mel_ratio, flow.output_size)
    voice = Voice(
        prompt_tokens=codes,
        prompt_mel=rng.standard_normal(mel_shape).astype(np.float32),
        embedding=rng.standard_normal(flow.spk_embed_dim).astype(np.float32),
    )
    return Segment(ids.astype(np.int32), TEXT_TOKENS, "", voice)


def run_streams(stages: BenchStages, streams: int, settings: Settings) -> list[StreamMetrics]:
    """Start `streams` streams at the same moment; return how each went."""
    start = threading.Barrier(streams)

    def speak(seed: int) -> StreamMetrics:
        request = SynthesisRequest(text="any", sampling=SamplingParams(seed=seed))
        start.wait()
        meter = StreamMeter(stages.config.sample_rate)
        for chunk in synthesize(request, stages, stages.config, settings):
            meter.packet(chunk.samples)
        return meter.finish()

    with ThreadPoolExecutor(streams) as pool:
        return list(pool.map(speak, range(streams)))


def decode_rate(llm: LanguageModel, config: ModelConfig, streams: int, tokens: int) -> float:
    """Tokens a second of all streams together, while all of them run."""
    prompt = some_segment(config, 75).input_ids
    stamps: list[list[float]] = [[] for _ in range(streams)]

    def generate(stream: int) -> None:
        sampling = SamplingParams(seed=stream)
        request = GenerationRequest(prompt, tokens, tokens, sampling)
        for ids in llm.submit(request):
            stamps[stream] += [time.perf_counter()] * len(ids)

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(generate, range(streams)))
    begin, end = max(s[0] for s in stamps), min(s[-1] for s in stamps)
    inside = sum(begin < stamp <= end for s in stamps for stamp in s)
    return inside / (end - begin)

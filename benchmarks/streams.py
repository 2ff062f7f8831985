"""Streams of a fixed length through the pipeline in this process, and how each felt."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.full_size import AnyConfig
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Int32
from tritone.families import family_named
from tritone.families.cosyvoice2 import voice as cosyvoice2
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.llm.contract import (
    Generation,
    GenerationRequest,
    LanguageModel,
    Prompt,
    SamplingParams,
)
from tritone.local.tts import LocalFlowSession, LocalVocoderSession
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice
from tritone_client.metrics import StreamMeter, StreamMetrics

TEXT_TOKENS = 25


class BenchStages:
    """`synthesis.rules.Stages` without a frontend: every request is the same prompt and length.

    seconds: of speech, whatever the text. prompt_seconds: of the voice's reference.
    """

    takes_open_text = False

    def __init__(
        self,
        config: AnyConfig,
        llm: LanguageModel,
        flow: FlowStage,
        vocoder: VocoderStage,
        *,
        seconds: float,
        prompt_seconds: float = 3.0,
    ) -> None:
        config = lasting(config, seconds, TEXT_TOKENS)
        self.rules = family_named(config.family).rules(config, Hops())
        self.llm, self.flow, self.vocoder = llm, flow, vocoder
        ids, voice = some_prompt(config, round(prompt_seconds * CODES_PER_SECOND))
        self._segment = Segment(Prompt(ids), TEXT_TOKENS, "", voice)

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        yield self._segment

    def generate(self, request: GenerationRequest) -> Generation:
        return self.llm.submit(request)

    def open_flow(self, voice: Voice, *, streaming: bool) -> LocalFlowSession:
        return LocalFlowSession(self.flow, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> LocalVocoderSession:
        return LocalVocoderSession(self.vocoder, seed=seed, speed=speed)


def lasting(config: AnyConfig, seconds: float, text_tokens: int) -> AnyConfig:
    """The configuration whose speech of so many text tokens lasts `seconds`, whatever is drawn."""
    each = (seconds * CODES_PER_SECOND + 0.5) / text_tokens  # limits are rounded down
    lengths = {"min_tokens_per_text_token": each, "max_tokens_per_text_token": each}
    sampling = config.sampling.model_copy(update={**lengths, "tokens_beside": 0})
    unheard = config.llm.model_copy(update={"text_heads": ()})  # the text is not to end it
    return config.model_copy(update={"sampling": sampling, "llm": unheard})


def some_prompt(config: AnyConfig, tokens: int) -> tuple[Int32, cosyvoice2.Voice]:
    """A text and a voice of random values: the ids as the language model expects them, and the
    voice, whose prompt has so many tokens."""
    rng = np.random.default_rng(0)
    llm, flow = config.llm, config.flow
    codes = rng.integers(0, min(llm.speech_codes, flow.vocab_size), tokens).astype(np.int32)
    texts = rng.integers(0, min(llm.speech_offset, 1000), 2 * TEXT_TOKENS)
    ids = np.concatenate([[llm.sos_id], texts, [llm.task_id], llm.speech_offset + codes])
    mel_shape = (tokens * flow.token_mel_ratio, flow.output_size)
    voice = family_named(config.family).voice(
        prompt_tokens=codes,
        prompt_mel=rng.standard_normal(mel_shape).astype(np.float32),
        embedding=rng.standard_normal(flow.spk_embed_dim).astype(np.float32),
    )
    return ids.astype(np.int32), voice


def run_streams(stages: BenchStages, streams: int, settings: Settings) -> list[StreamMetrics]:
    """Start `streams` streams at the same moment; return how each went."""
    start = threading.Barrier(streams)

    def speak(seed: int) -> StreamMetrics:
        request = SynthesisRequest(text="any", sampling=SamplingParams(seed=seed))
        start.wait()
        meter = StreamMeter(stages.rules.rates.sample_rate)
        for chunk in synthesize(request, stages, stages.rules, settings):
            meter.packet(chunk.samples)
        return meter.finish()

    with ThreadPoolExecutor(streams) as pool:
        return list(pool.map(speak, range(streams)))


def decode_rate(llm: LanguageModel, config: AnyConfig, streams: int, tokens: int) -> float:
    """Tokens a second of all streams together, while all of them run."""
    prompt = Prompt(some_prompt(config, 75)[0])
    stamps: list[list[float]] = [[] for _ in range(streams)]

    def generate(stream: int) -> None:
        sampling = SamplingParams(seed=stream)
        request = GenerationRequest(prompt, tokens, tokens, sampling)
        for increment in llm.submit(request):
            stamps[stream] += [time.perf_counter()] * len(increment)

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(generate, range(streams)))
    begin, end = max(s[0] for s in stamps), min(s[-1] for s in stamps)
    inside = sum(begin < stamp <= end for s in stamps for stamp in s)
    return inside / (end - begin)

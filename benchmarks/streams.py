"""Streams of a fixed length through the pipeline, over stages in other processes."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.full_size import AnyConfig
from benchmarks.remote_stages import (
    RemoteFlowSession,
    RemoteGeneration,
    RemoteLanguageModel,
    RemoteVocoderSession,
)
from benchmarks.stage_processes import StageProcess
from tritone.arrays import Int32
from tritone.errors import Overloaded
from tritone.families import family_named
from tritone.families.cosyvoice2 import voice as cosyvoice2
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.llm.contract import GenerationRequest, LanguageModel, Prompt, SamplingParams
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice

TEXT_TOKENS = 25


class BenchStages:
    """`synthesis.rules.Stages` without a frontend: every request is the same prompt and length.

    seconds: of speech, whatever the text. prompt_seconds: of the voice's reference.
    """

    takes_open_text = False

    def __init__(
        self,
        config: AnyConfig,
        llm: StageProcess,
        flow: StageProcess,
        vocoder: StageProcess,
        *,
        seconds: float,
        prompt_seconds: float = 3.0,
    ) -> None:
        config = lasting(config, seconds, TEXT_TOKENS)
        self.rules = family_named(config.family).rules(config, Hops())
        self.llm, self.flow, self.vocoder = RemoteLanguageModel(llm), flow, vocoder
        self.turns = StageTurns()
        ids, voice = some_prompt(config, round(prompt_seconds * CODES_PER_SECOND))
        self._segment = Segment(Prompt(ids), TEXT_TOKENS, "", voice)

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        yield self._segment

    def generate(self, request: GenerationRequest) -> RemoteGeneration:
        return self.llm.submit(request)

    def open_flow(self, voice: Voice, *, streaming: bool) -> RemoteFlowSession:
        return RemoteFlowSession(self.flow, voice)

    def open_vocoder(self, *, seed: int, speed: float) -> RemoteVocoderSession:
        return RemoteVocoderSession(self.vocoder, seed=seed, speed=speed)


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


@dataclass(frozen=True)
class Together:
    """Streams that began at the same moment. records: of those that were spoken, as
    `Timing.record`. refused: streams for which there was no room. seconds: until the last ended."""

    records: list[dict[str, Any]]
    refused: int
    seconds: float

    def values(self, name: str) -> list[float]:
        return [record[name] for record in self.records if record[name] is not None]


def run_streams(stages: BenchStages, streams: int, settings: Settings) -> Together:
    """Start `streams` streams at the same moment; return how they went."""
    start = threading.Barrier(streams)

    def speak(seed: int) -> dict[str, Any] | None:
        request = SynthesisRequest(text="any", sampling=SamplingParams(seed=seed))
        start.wait()
        timing = Timing(stages.rules.rates.sample_rate)
        try:
            for _ in synthesize(
                request, stages, stages.rules, settings, turns=stages.turns, timing=timing
            ):
                pass
        except Overloaded:
            return None
        return timing.record()

    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        records = list(pool.map(speak, range(streams)))
    spoken = [record for record in records if record is not None]
    return Together(spoken, streams - len(spoken), time.perf_counter() - began)


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

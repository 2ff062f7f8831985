"""Flow and vocoder of one model without a server, in CPU seconds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from benchmarks.baseline import recomputed
from benchmarks.family_parts import PARTS
from benchmarks.figures import Figure, figure, ratio
from benchmarks.full_size import AnyConfig
from benchmarks.streams import some_prompt
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.vocoder_stage import StreamingVocoder
from tritone.arrays import Int32
from tritone.families.contract import Model
from tritone.llm.contract import Increment

PROMPT_TOKENS = 75  # three seconds


def cpu_seconds(function: Callable[[], Any]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


class Acoustics:
    """Flow and vocoder of a model as a server's settings make them, and the plain ones."""

    def __init__(self, model: Model, settings: FlowSettings):
        self.config: AnyConfig = model.config
        self._model = model
        family, where = model.family, (model.folder, model.config)
        # what is measured are costs of a chunk
        self.flow = family.load_flow(*where, replace(settings, most_chunks=1))
        self.vocoder = family.load_vocoder(*where, VocoderSettings(dtype=settings.dtype))
        _, self.voice = some_prompt(self.config, PROMPT_TOKENS)

    @cached_property
    def plain_flow(self) -> FlowStage:
        settings, model = FlowSettings(dtype=torch.float32), self._model
        return model.family.load_flow(model.folder, model.config, settings)

    @cached_property
    def plain_vocoder(self) -> StreamingVocoder[Any]:
        return PARTS[self._model.family.name].plain_vocoder(self._model)

    def codes(self, count: int) -> Int32:
        drawn = np.random.default_rng(1).integers(0, self.config.flow.vocab_size, count)
        return drawn.astype(np.int32)

    def tokens(self, seconds: float) -> Int32:
        return self.codes(round(seconds / self.seconds_per_chunk) * self.config.flow.chunk_size)

    @property
    def seconds_per_chunk(self) -> float:
        flow, rate = self.config.flow, self.config.vocoder.samples_per_frame
        frames = flow.chunk_size * flow.token_mel_ratio
        return frames * rate / self.config.sample_rate

    def against_recomputing(self, seconds: float, rounds: int) -> list[Figure]:
        """Ours and the baseline in turn on the same tokens."""
        tokens = self.tokens(seconds)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(sum(map(sum, Stream(self, tokens))))
            plain = (self.plain_flow, self.plain_vocoder)
            run = recomputed(self.config, *plain, self.voice, tokens)
            theirs.append(cpu_seconds(partial(list, run)))
        mine = figure(f"flow and vocoder, {seconds:g} s streamed", "s of CPU", ours)
        base = figure(f"  the same, every chunk recomputed ({seconds:g} s)", "s of CPU", theirs)
        return [mine, base, ratio("  recomputed over ours", base, mine, "at least 6")]


class Stream:
    """One stream chunk by chunk; its iterator yields CPU seconds of flow and vocoder."""

    def __init__(self, acoustics: Acoustics, tokens: Int32) -> None:
        self._acoustics, self._tokens = acoustics, tokens
        self.cache_bytes = 0

    def __iter__(self) -> Iterator[tuple[float, float]]:
        parts, tokens, position = self._acoustics, self._tokens, 0
        flow, vocoder, config = parts.flow, parts.vocoder, parts.config.flow
        size, state = config.chunk_size, flow.open(parts.voice)
        vocoding = vocoder.start(seed=0, speed=1.0)
        for end in range(size, len(tokens) + 1, size):
            until, last = end + config.pre_lookahead_len, end == len(tokens)
            begin = time.process_time()
            mel, state = flow.step(Increment(tokens[position:until]), state, finalize=last)
            between = time.process_time()
            _, vocoding = vocoder.step(mel, vocoding, finalize=last)
            position, self.cache_bytes = until, state.nbytes
            yield between - begin, time.process_time() - between

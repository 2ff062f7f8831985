"""CPU seconds of each stage of one model, without a server."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.baseline import recomputed
from benchmarks.family_parts import PARTS
from benchmarks.figures import Figure, figure, ratio
from benchmarks.full_size import AnyConfig
from benchmarks.streams import some_prompt
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.arrays import Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.contract import Model
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import Increment
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import ensure_graph

PROMPT_TOKENS = 75  # three seconds


def cpu_seconds(function: Callable[[], Any]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


def language_model(model: Model, precision: str, streams: list[int], steps: int) -> list[Figure]:
    """Prefill of the benchmark's prompt, and decoding steps of 1, 4, 8.. streams together."""
    graph = ensure_graph(model.folder, model.config, precision)
    session = OnnxSlots(
        model.folder / LLM_DIR,
        model.config.llm,
        precision=precision,
        slots=max(streams),
        slot_length=512,
        graph=graph,
    )
    embedding = EmbeddingTable(Checkpoint(model.folder / LLM_DIR / WEIGHTS_NAME))
    ids, _ = some_prompt(model.config, PROMPT_TOKENS)
    prompt = embedding(ids)
    part = session.prefill_part

    def prefill(slot: int) -> None:
        for begin in range(0, len(prompt), part):
            session.prefill(slot, prompt[begin : begin + part], begin)

    prefill(0)
    prefills = [cpu_seconds(partial(prefill, slot)) for slot in range(max(streams))]
    figures = [figure(f"LLM {precision}, prefill of {len(ids)} ids", "s", prefills)]
    for count in streams:
        embeds = embedding(ids[-count:])
        seconds = []
        for step in range(steps):
            lengths = np.full(count, len(ids) + step, np.int32)
            seconds.append(cpu_seconds(partial(session.decode, embeds, lengths)))
        name = f"LLM {precision}, step of {count} stream{'s' * (count > 1)}"
        figures.append(figure(name, "s", seconds))
    return figures


class Acoustics:
    """Flow and vocoder of a model as a server's settings make them, and the plain ones."""

    def __init__(self, model: Model, settings: FlowSettings):
        self.config: AnyConfig = model.config
        family, where = model.family, (model.folder, model.config)
        # what is measured are costs of a chunk
        self.flow = family.load_flow(*where, replace(settings, most_chunks=1))
        self.vocoder = family.load_vocoder(*where, VocoderSettings(dtype=settings.dtype))
        self.plain_flow = family.load_flow(*where, FlowSettings(dtype=torch.float32))
        self.plain_vocoder = PARTS[family.name].plain_vocoder(model)
        _, self.voice = some_prompt(self.config, PROMPT_TOKENS)

    def tokens(self, seconds: float) -> Int32:
        count = round(seconds / self.seconds_per_chunk) * self.config.flow.chunk_size
        codes = np.random.default_rng(1).integers(0, self.config.flow.vocab_size, count)
        return codes.astype(np.int32)

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

    def steps(self, seconds: float) -> list[Figure]:
        """Encoder, ODE steps and vocoder of each chunk of a stream."""
        assert isinstance(self.flow.flow, CodeFlow)
        flow = self.flow.flow.flow
        with timed(flow, "_encode") as encoder, timed(flow.solver, "solve") as ode:
            chunks = list(Stream(self, self.tokens(seconds)))
        steps = self.config.flow.solver.n_timesteps
        return [
            figure("flow encoder, a chunk", "s of CPU", encoder),
            figure("flow estimator, an ODE step", "s of CPU", [s / steps for s in ode]),
            figure("vocoder, a chunk", "s of CPU", [vocoder for _, vocoder in chunks]),
        ]


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


@contextmanager
def timed(owner: Any, method: str) -> Iterator[list[float]]:
    """CPU seconds of every call of one method of an object."""
    seconds: list[float] = []
    function = getattr(owner, method)

    def call(*arguments: Any, **named: Any) -> Any:
        begin = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            seconds.append(time.process_time() - begin)

    setattr(owner, method, call)
    try:
        yield seconds
    finally:
        delattr(owner, method)

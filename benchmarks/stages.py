"""Flow encoder, estimator step and vocoder of a chunk, as shares of what the machine's peaks allow.

Seconds of CPU count all threads, so the peaks of one thread bound them whatever the threads are.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.figures import Figure, figure
from benchmarks.operations import counted, least_seconds, limit_of
from benchmarks.parts import Acoustics, cpu_seconds
from benchmarks.peaks import Peaks
from tritone.acoustic.estimator import EstimatorState, StreamsPass
from tritone.acoustic.solver import GUIDED_ROWS
from tritone.families.cosyvoice2.acoustics import CodeFlow
from tritone.families.cosyvoice2.flow import Flow

FRAMES_BEFORE = (0, 400, 700)
_ENCODED_BEFORE = 400  # frames


class TimedPass(StreamsPass):
    """Adds up the CPU seconds of attention."""

    attention_s = 0.0

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        begin = time.process_time()
        attended = super().attend(query, key, value)
        self.attention_s += time.process_time() - begin
        return attended


class Stages:
    """Of one model; each method measures one stage in some rounds."""

    def __init__(self, acoustics: Acoustics, peaks: Peaks, rounds: int) -> None:
        assert isinstance(acoustics.flow.flow, CodeFlow)
        self._acoustics, self._peaks, self._rounds = acoustics, peaks, rounds
        self._flow: Flow = acoustics.flow.flow.flow

    @torch.inference_mode()
    def encoder(self) -> list[Figure]:
        """A chunk in the middle of a stream."""
        flow, config = self._flow, self._acoustics.config.flow
        network, settings = flow.network, flow.euler.settings
        chunks = round(_ENCODED_BEFORE / (config.chunk_size * config.token_mel_ratio))
        codes = torch.from_numpy(self._acoustics.codes(config.chunk_size)).long()
        ahead = codes[: config.pre_lookahead_len]
        state: Any = network.start(settings.left_chunks, settings.cache_dtype)
        for _ in range(chunks):
            _, state = network.encode_chunk(codes, ahead, state)

        def encode() -> None:
            network.encode_chunk(codes, ahead, state.fork())

        return [self._figure("flow encoder, a chunk", encode)]

    @torch.inference_mode()
    def estimator(self, before: Sequence[int] = FRAMES_BEFORE) -> list[Figure]:
        """A guided step of one chunk with so many frames of the past in its caches, or what whole
        chunks come next to, rising."""
        euler = self._flow.euler
        net, shifts, settings = euler.estimator, euler.time_shifts[0], euler.settings
        width = net.mel_bins + net.condition_channels
        x = torch.randn(GUIDED_ROWS, net.chunk_frames, width).to(net.dtype)
        state = EstimatorState.empty(
            net, GUIDED_ROWS, settings.left_chunks, settings.cache_dtype
        ).fork()
        found = []
        for frames in before:
            while state.store.length + net.chunk_frames <= frames:
                _, (state,) = net.step(x, shifts, [state])

            def passed(state: EstimatorState = state) -> TimedPass:
                run = TimedPass([state], None)  # not told that it is over, it begins here again
                net.run(x, shifts, run)
                return run

            name = f"flow estimator, an ODE step after {state.store.length} frames"
            found += self._in_two(name, passed)
        return found

    def vocoder(self) -> list[Figure]:
        """A chunk in the middle of a stream."""
        vocoder, config = self._acoustics.vocoder, self._acoustics.config.flow
        frames = config.chunk_size * config.token_mel_ratio
        shape = (config.output_size, frames)
        mel = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        _, state = vocoder.step(mel, vocoder.start(seed=0, speed=1.0), finalize=False)

        def vocode() -> None:
            vocoder.step(mel, state, finalize=False)

        return [self._figure("vocoder, a chunk", vocode)]

    def _figure(self, name: str, call: Callable[[], Any]) -> Figure:
        call()  # what the first one prepares is neither counted nor timed
        with counted() as operations:
            call()
        seconds = [cpu_seconds(call) for _ in range(self._rounds)]
        return self._bounded(name, seconds, operations.all)

    def _in_two(self, name: str, passed: Callable[[], TimedPass]) -> list[Figure]:
        passed()
        with counted() as operations:
            passed()
        whole, attention = [], []
        for _ in range(self._rounds):
            begin = time.process_time()
            run = passed()
            whole.append(time.process_time() - begin)
            attention.append(run.attention_s)
        rest = [all_ - own for all_, own in zip(whole, attention, strict=True)]
        return [
            self._bounded(name, whole, operations.all),
            self._bounded(f"{name}: products and the rest", rest, operations.products),
            self._bounded(f"{name}: attention", attention, operations.attention),
        ]

    def _bounded(self, name: str, seconds: list[float], done: dict[torch.dtype, int]) -> Figure:
        least, limit = least_seconds(done, self._peaks), limit_of(done, self._peaks)
        return figure(name, "s of CPU", seconds, least=least, limit=limit)


def figures_of(acoustics: Acoustics, peaks: Peaks, rounds: int) -> list[Figure]:
    stages = Stages(acoustics, peaks, rounds)
    return [*stages.encoder(), *stages.estimator(), *stages.vocoder()]

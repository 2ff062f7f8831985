"""Mel to waveform, whole or chunk by chunk without seams.

The network is not causal: a sample depends on about 14 frames of mel and source each way. A stream
therefore decodes a window: `context` frames (and some more) that are out already, the new ones,
and `lookahead` frames that are held back.

    window   |-- context --|---------- emitted now ----------|-- lookahead --|
    next                          |-- context --|------- emitted ------|-- lookahead --|
                                                |fade|

The phase of the source runs on from window to window and its noise is bound to the frame, so both
windows aim at the same waveform; what the shorter look-ahead changed is blended over `fade` samples
with weights that sum to one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.acoustic.filter import Filter
from tritone.acoustic.vocoder_stage import MOST_FRAMES, check_values, whole_numbers
from tritone.arrays import Float32
from tritone.families.cosyvoice2.config import VocoderConfig
from tritone.families.cosyvoice2.hift import F0Predictor, HiFT

_LONGEST = 1 << 31  # frames of a stream, more than a year of them
_KEPT_FRAMES = 256  # of noise: a third of a window was in the one before; 17 KB each at 24 kHz


@dataclass(frozen=True)
class VocoderState:
    """What a stream carries from call to call, some tens of kilobytes.

    mel (mel, n) and f0 (n,): the window from frame `first` on; turns (harmonics,) float64: the
    phase before it; tail (fade samples): what the last call had for the samples after its
    emission; emitted: frames out so far; seed: of the source noise.
    """

    mel: Tensor
    f0: Tensor
    turns: Tensor
    tail: Tensor
    seed: int
    first: int = 0
    emitted: int = 0

    def to_tensors(self) -> dict[str, Tensor]:
        return {
            "mel": self.mel,
            "f0": self.f0,
            "turns": self.turns,
            "tail": self.tail,
            "numbers": torch.tensor([self.first, self.emitted]),
            "seed": torch.from_numpy(np.array([self.seed], dtype=np.uint64).view(np.int64)),
        }


class Vocoder:
    """HiFT with its source, one-shot (by a call) and streaming (`start`, `step`).

    filter: another way to run the network between its Fourier transforms.
    """

    warm_up_frames = (18, 32, 50, 50)  # as a stream begins
    context, lookahead, fade = 12, 8, 2  # frames; context is at least twice that of F0Predictor
    grid = 10  # the lengths of windows are its multiples: a CPU prepares each layer for each length

    def __init__(self, network: HiFT, sample_rate: int, filter: Filter | None = None) -> None:
        self.network, self.config, self.sample_rate = network, network.config, sample_rate
        self.bins = network.config.in_channels
        self.filter = filter or network.filter

    @property
    def device(self) -> torch.device:
        return self.network.window.device

    def source(
        self, f0: Tensor, noise: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """f0 (1, T) -> the mixed source (1, samples) and the turns of each frame."""
        harmonics = self.config.nb_harmonics + 1
        turns = accumulate_turns(f0, harmonics, self.sample_rate, before)
        excitation = excite(f0, turns, before, noise, self.config)
        return torch.tanh(self.network.mix_source(excitation))[:, :, 0], turns

    def __call__(self, mel: Tensor, noise: Tensor) -> Tensor:
        """mel (mel, T), noise (1, samples, harmonics) -> waveform (samples_per_frame * T,)."""
        source, _ = self.source(self.network.f0(mel[None]), noise)
        filtered = self.filter(mel[None], self.network.analyse(source))
        return self.network.synthesise(filtered)[0]

    def start(self, seed: int) -> VocoderState:
        empty, config = self.network.window.new_zeros, self.config
        turns = empty(config.nb_harmonics + 1, dtype=torch.float64)
        return VocoderState(empty(config.in_channels, 0), empty(0), turns, empty(0), seed)

    def restore(self, tensors: Mapping[str, Tensor]) -> VocoderState:
        """Raises ValueError, or KeyError for one that is missing, where they are of no stream."""
        first, emitted = whole_numbers(tensors["numbers"], 2)
        seed = int(tensors["seed"].numpy().view(np.uint64)[0])
        mel, f0, turns, tail = (tensors[n].to(self.device) for n in ("mel", "f0", "turns", "tail"))
        check_values("mel", mel, self.bins, range(MOST_FRAMES))
        check_values("f0", f0, range(mel.shape[1] + 1))
        check_values("turns", turns, self.config.nb_harmonics + 1)
        check_values("tail", tail, range(self.fade * self.config.samples_per_frame + 1))
        if not first <= emitted <= first + mel.shape[1] < _LONGEST:
            raise ValueError(
                f"its window of {mel.shape[1]} frames is at {first}, {emitted} are out"
            )
        return VocoderState(mel, f0, turns, tail, seed, first, emitted)

    def step(
        self, mel: Tensor, state: VocoderState, *, finalize: bool
    ) -> tuple[Tensor, VocoderState]:
        """Take (mel, n) new frames, n >= 0; return the samples that are ready and the new state.

        Without `finalize` the last `lookahead` frames are held back, so the waveform (m,) may be
        empty; over a stream that ends with `finalize` it adds up to samples_per_frame a frame.
        """
        window = torch.cat([state.mel, mel], dim=1)
        end = state.first + window.shape[1]
        until = end if finalize else max(state.emitted, end - self.lookahead)
        if until == state.emitted:
            return window.new_zeros(0), replace(state, mel=window)
        skipped = self._skipped(state, end)
        f0 = self._f0(window, state, skipped)
        before = state.turns[None, None] if state.first else None
        noise = frame_noise(state.seed, state.first, window.shape[1], self.config)
        source, turns = self.source(f0, noise.to(window), before)
        scale = self.config.samples_per_frame
        spectrum = self.network.analyse(source[:, skipped * scale :])
        wave = self.network.synthesise(self.filter(window[None, :, skipped:], spectrum))[0]
        wave = wave[(state.emitted - state.first - skipped) * scale :]
        ready, tail = self._cut(wave, until - state.emitted, state.tail)
        first = max(0, until - self.context - self.grid + 1)
        drop = first - state.first
        return ready, replace(
            state,
            mel=window[:, drop:],
            f0=f0[0, drop:],
            turns=turns[0, drop - 1] if drop else state.turns,
            tail=tail,
            first=first,
            emitted=until,
        )

    def _skipped(self, state: VocoderState, end: int) -> int:
        """Frames at the start of what is kept that the network need not see: it gets `context`, and
        as many more as make the window a multiple of `grid`."""
        begin = max(0, state.emitted - self.context)
        return max(0, begin - (begin - end) % self.grid - state.first)

    def _f0(self, window: Tensor, state: VocoderState, skipped: int) -> Tensor:
        """f0 of the window, (1, n); frames that had their full context before keep their value."""
        f0 = self.network.f0(window[None, :, skipped:])
        settled = len(state.f0) - F0Predictor.CONTEXT
        if settled > 0:
            f0 = torch.cat([state.f0[None, :settled], f0[:, settled - skipped :]], dim=1)
        return f0  # type: ignore[no-any-return]

    def _cut(self, wave: Tensor, frames: int, tail: Tensor) -> tuple[Tensor, Tensor]:
        """Split off `frames` frames, fading in from the last call's tail; keep the next tail."""
        scale = self.config.samples_per_frame
        ready = wave[: frames * scale]
        overlap = min(len(tail), len(ready))
        if overlap:
            ramp = torch.arange(overlap, device=wave.device, dtype=wave.dtype)
            rising = 0.5 - 0.5 * torch.cos(math.pi * (ramp + 0.5) / overlap)
            blended = tail[:overlap] * (1 - rising) + ready[:overlap] * rising
            ready = torch.cat([blended, ready[overlap:]])
        return ready, wave[frames * scale : (frames + self.fade) * scale].clone()


# The harmonic source (SineGen2 of CosyVoice2): f0 to a sum of sines and noise. Phase is rounded to
# float32 in upstream's order of operations: it grows to 1e5 rad, where another order or precision
# is heard by a parity test (up to 2.5e-2 after ten seconds).


def accumulate_turns(f0: Tensor, harmonics: int, sample_rate: int, before: Tensor | None) -> Tensor:
    """Accumulated turns a sample of each harmonic at each frame, (1, T, harmonics) in float64.

    f0 (1, T) Hz; before (1, 1, harmonics) is the value at the frame before the first one, None at
    the start of an utterance. Summed in float64, as torch sums float32 on a CPU, and kept so: one
    sum from the start to the last bit, however it is cut into calls.
    """
    multiples = torch.arange(1, harmonics + 1, device=f0.device, dtype=f0.dtype)
    rate = ((f0[:, :, None] * multiples / sample_rate) % 1).double()
    if before is None:
        return torch.cumsum(rate, dim=1)
    return torch.cumsum(torch.cat([before, rate], dim=1), dim=1)[:, 1:]


def excite(
    f0: Tensor, turns: Tensor, before: Tensor | None, noise: Tensor, config: VocoderConfig
) -> Tensor:
    """Gated sines and noise of each harmonic, before they are mixed, (1, samples, harmonics).

    f0 (1, T); turns and before as in `accumulate_turns`; noise (1, samples, harmonics) standard
    normal draws. The phase between two frame centres is interpolated; past the first and last
    centre it stands still, but for the frame before, where there is one.
    """
    scale = config.samples_per_frame
    around = turns if before is None else torch.cat([before, turns], dim=1)
    phase = around.to(f0) * 2 * math.pi * scale
    phase = F.interpolate(phase.mT, scale_factor=float(scale), mode="linear").mT
    phase = phase if before is None else phase[:, scale:]
    voiced = (f0 > config.nsf_voiced_threshold).to(f0)
    voiced = voiced.repeat_interleave(scale, dim=1)[:, :, None]
    amplitude = voiced * config.nsf_sigma + (1 - voiced) * config.nsf_alpha / 3
    return phase.sin() * config.nsf_alpha * voiced + amplitude * noise


def frame_noise(seed: int, first: int, frames: int, config: VocoderConfig) -> Tensor:
    """Standard normal draws for `frames` frames from frame `first` on, (1, samples, harmonics).

    Each frame has its own counter-based stream, so any window of an utterance gets the same noise.
    """
    shape = (config.samples_per_frame, config.nb_harmonics + 1)
    draws = [_draws(seed, first + offset, shape) for offset in range(frames)]
    return torch.from_numpy(np.concatenate(draws)[None])


@lru_cache(_KEPT_FRAMES)
def _draws(seed: int, frame: int, shape: tuple[int, int]) -> Float32:
    bits = np.random.Philox(key=seed, counter=[0, 0, 0, frame])
    return np.random.Generator(bits).standard_normal(shape, dtype=np.float32)

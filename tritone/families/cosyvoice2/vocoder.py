"""Mel to waveform, whole or chunk by chunk without seams.

The network is not causal: a sample depends on about 14 frames of mel and source each way. A stream
therefore decodes a window: `context` frames that are out already, the new ones, and `lookahead`
frames that are held back.

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

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from tritone.acoustic.filter import Filter
from tritone.families.cosyvoice2.harmonic_source import accumulate_turns, excite, frame_noise
from tritone.families.cosyvoice2.hift import F0Predictor, HiFT


@dataclass(frozen=True)
class Windowing:
    """Frames of context and look-ahead around what a call emits, and frames of cross-fade."""

    context: int = 12
    lookahead: int = 8
    fade: int = 2

    def __post_init__(self) -> None:
        assert 0 <= self.fade <= self.lookahead
        assert self.context >= 2 * F0Predictor.CONTEXT


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
    first: int
    emitted: int
    seed: int

    def to_tensors(self) -> dict[str, Tensor]:
        return {
            "mel": self.mel,
            "f0": self.f0,
            "turns": self.turns,
            "tail": self.tail,
            "numbers": torch.tensor([self.first, self.emitted]),
            "seed": torch.from_numpy(np.array([self.seed], dtype=np.uint64).view(np.int64)),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> Self:
        first, emitted = tensors["numbers"].tolist()
        seed = int(tensors["seed"].numpy().view(np.uint64)[0])
        mel, f0, turns, tail = (tensors[n].to(device) for n in ("mel", "f0", "turns", "tail"))
        return cls(mel, f0, turns, tail, first=first, emitted=emitted, seed=seed)


class Vocoder:
    """HiFT with its source, one-shot (by a call) and streaming (`start`, `step`).

    filter: another way to run the network between its Fourier transforms.
    """

    warm_up_frames = (24, 26, 50, 50)  # as a stream begins

    def __init__(
        self,
        network: HiFT,
        sample_rate: int,
        filter: Filter | None = None,
        windowing: Windowing | None = None,
    ) -> None:
        self.network, self.config, self.sample_rate = network, network.config, sample_rate
        self.bins = network.config.in_channels
        self.filter = filter or network.filter
        self.windowing = windowing or Windowing()

    @property
    def device(self) -> torch.device:
        return self.network.window.device

    def source(
        self, f0: Tensor, noise: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """f0 (1, T) -> the mixed source (1, samples) and the turns of each frame."""
        turns = accumulate_turns(f0, self.config, self.sample_rate, before)
        excitation = excite(f0, turns, before, noise, self.config)
        return torch.tanh(self.network.mix_source(excitation))[:, :, 0], turns

    def __call__(self, mel: Tensor, noise: Tensor) -> Tensor:
        """mel (mel, T), noise (1, samples, harmonics) -> waveform (samples_per_frame * T,)."""
        source, _ = self.source(self.network.f0(mel[None]), noise)
        filtered = self.filter(mel[None], self.network.analyse(source))
        return self.network.synthesise(filtered)[0]

    def start(self, seed: int) -> VocoderState:
        empty = self.network.window.new_zeros
        config = self.config
        return VocoderState(
            mel=empty(config.in_channels, 0),
            f0=empty(0),
            turns=empty(config.nb_harmonics + 1, dtype=torch.float64),
            tail=empty(0),
            first=0,
            emitted=0,
            seed=seed,
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> VocoderState:
        """A state from what its `to_tensors` gave, on any device."""
        return VocoderState.from_tensors(tensors, self.device)

    def step(
        self, mel: Tensor, state: VocoderState, *, finalize: bool
    ) -> tuple[Tensor, VocoderState]:
        """Take (mel, n) new frames, n >= 0; return the samples that are ready and the new state.

        Without `finalize` the last `lookahead` frames are held back, so the waveform (m,) may be
        empty; over a stream that ends with `finalize` it adds up to samples_per_frame a frame.
        """
        window = torch.cat([state.mel, mel], dim=1)
        end = state.first + window.shape[1]
        until = end if finalize else max(state.emitted, end - self.windowing.lookahead)
        if until == state.emitted:
            return window.new_zeros(0), replace(state, mel=window)
        f0 = self._f0(window, state)
        before = state.turns[None, None] if state.first else None
        noise = frame_noise(state.seed, state.first, window.shape[1], self.config)
        source, turns = self.source(f0, noise.to(window), before)
        filtered = self.filter(window[None], self.network.analyse(source))
        wave = self.network.synthesise(filtered)[0]
        wave = wave[(state.emitted - state.first) * self.config.samples_per_frame :]
        ready, tail = self._cut(wave, until - state.emitted, state.tail)
        first = max(0, until - self.windowing.context)
        drop = first - state.first
        carried = VocoderState(
            mel=window[:, drop:],
            f0=f0[0, drop:],
            turns=turns[0, drop - 1] if drop else state.turns,
            tail=tail,
            first=first,
            emitted=until,
            seed=state.seed,
        )
        return ready, carried

    def _f0(self, window: Tensor, state: VocoderState) -> Tensor:
        """f0 of the window, (1, n); frames that had their full context before keep their value."""
        f0 = self.network.f0(window[None])
        settled = len(state.f0) - F0Predictor.CONTEXT
        if settled > 0:
            f0 = torch.cat([state.f0[None, :settled], f0[:, settled:]], dim=1)
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
        fade = self.windowing.fade * scale
        return ready, wave[frames * scale : frames * scale + fade].clone()

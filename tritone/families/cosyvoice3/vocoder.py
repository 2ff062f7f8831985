"""Mel to waveform, whole or chunk by chunk: any split gives the same samples, up to rounding.

The network is causal but for a few frames. A stream decodes a window: `context` frames that are out
already, the new ones, and `lookahead` frames that are held back.

    window   |-- context --|---------- emitted now ----------|-- lookahead --|
    next                          |-- context --|------- emitted ------|-- lookahead --|

The state is the window's mel and f0, and the phase before it. The states of all layers would be
fifty times as many bytes, and save a sixth of the filter's work in steps of a second.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.acoustic.filter import Filter
from tritone.acoustic.vocoder_stage import MOST_FRAMES, check_values, whole_numbers
from tritone.families.cosyvoice2.vocoder import accumulate_turns
from tritone.families.cosyvoice3.hift import F0Predictor, HiFT

_LONGEST = 1 << 31  # frames of a stream, more than a year of them

Noise = Callable[[int, int], Tensor]
"""First sample and count -> (count, harmonics) numbers from 0 to 1, the same every time."""


@dataclass(frozen=True)
class VocoderState:
    """What a stream carries from call to call, some ten kilobytes.

    emitted: frames out so far; mel (mel, n) and f0 (m,): the window, from `context` frames before
    that; turns (harmonics,) float64: the phase before the window.
    """

    mel: Tensor
    f0: Tensor
    turns: Tensor
    emitted: int = 0

    def to_tensors(self) -> dict[str, Tensor]:
        numbers = torch.tensor([self.emitted])
        return {"mel": self.mel, "f0": self.f0, "turns": self.turns, "numbers": numbers}


class Vocoder:
    """Causal HiFT with its source, one-shot (by a call) and streaming (`start`, `step`).

    filter: another way to run the network between its Fourier transforms.
    """

    warm_up_frames = (18, 32, 50, 50)  # as a stream begins

    def __init__(
        self, network: HiFT, sample_rate: int, noise: Noise, filter: Filter | None = None
    ) -> None:
        self.network, self.config, self.sample_rate = network, network.config, sample_rate
        self.bins = network.config.in_channels
        self.context = network.context
        # The last samples of a frame need the next frame's f0 and the beginning of its filter.
        self._ahead = max(network.look_right, F0Predictor.AHEAD + 1)
        self.lookahead = self._ahead + 1
        self.noise = noise
        self.filter = filter or network.filter

    @property
    def device(self) -> torch.device:
        return self.network.window.device

    def __call__(self, mel: Tensor) -> Tensor:
        """mel (mel, T) -> waveform (samples_per_frame * T,)."""
        return self.step(mel, self.start(0), finalize=True)[0]

    def start(self, seed: int) -> VocoderState:
        """The seed has no effect: the noise is the same in every stream."""
        empty = self.network.window.new_zeros
        turns = empty(self.config.nb_harmonics + 1, dtype=torch.float64)
        return VocoderState(empty(self.bins, 0), empty(0), turns)

    def restore(self, tensors: Mapping[str, Tensor]) -> VocoderState:
        """Raises ValueError, or KeyError for one that is missing, where they are of no stream."""
        (emitted,) = whole_numbers(tensors["numbers"], 1)
        mel, f0, turns = (tensors[name].to(self.device) for name in ("mel", "f0", "turns"))
        check_values("mel", mel, self.bins, range(MOST_FRAMES))
        first = max(0, emitted - self.context)
        end = first + mel.shape[1]
        if emitted not in (end, max(0, end - self.lookahead)) or end >= _LONGEST:
            raise ValueError(f"its window of {mel.shape[1]} frames does not fit {emitted} emitted")
        check_values("f0", f0, min(emitted + 2, end) - first if emitted else 0)
        check_values("turns", turns, self.config.nb_harmonics + 1)
        if not ((turns >= 0) & (turns <= first)).all():
            raise ValueError(f"its turns are not those of {first} frames")
        return VocoderState(mel.float(), f0.float(), turns.double(), emitted)

    def step(
        self, mel: Tensor, state: VocoderState, *, finalize: bool
    ) -> tuple[Tensor, VocoderState]:
        """Take (mel, n) new frames, n >= 0; return the samples that are ready and the new state.

        Without `finalize` the last `lookahead` frames are held back, so the waveform (m,) may be
        empty; over a stream that ends with `finalize` it adds up to samples_per_frame a frame.
        """
        window = torch.cat([state.mel, mel], dim=1)
        first = max(0, state.emitted - self.context)
        end = first + window.shape[1]
        until = end if finalize else max(state.emitted, end - self.lookahead)
        if until == state.emitted:
            return window.new_zeros(0), replace(state, mel=window)
        decoded = end if finalize else until + 1
        known = F.pad(window, (0, self._ahead if finalize else 0))
        f0 = self._f0(known, state, end if finalize else decoded + 1, first)
        source, turns = self.source(f0, first, state.turns)
        spectrum = self._steps(source, decoded - first, opening=not first)
        filtered = self.filter(
            known[None, :, : decoded - first + self.network.look_right], spectrum
        )
        wave = self.network.synthesise(filtered)[0]
        scale, drop = self.config.samples_per_frame, max(0, until - self.context) - first
        wave = wave[len(wave) - (decoded - state.emitted) * scale :]
        return wave[: (until - state.emitted) * scale], VocoderState(
            mel=window[:, drop:],
            f0=f0[drop:],
            turns=turns[drop - 1] if drop else state.turns,
            emitted=until,
        )

    def source(self, f0: Tensor, first: int, before: Tensor) -> tuple[Tensor, Tensor]:
        """f0 (T,) from frame `first` on, with the turns before it -> the mixed source (samples,)
        and the turns of each frame, (T, harmonics).

        The phase stands still over a frame, as upstream has it.
        """
        config, scale = self.config, self.config.samples_per_frame
        turns = accumulate_turns(
            f0[None], config.nb_harmonics + 1, self.sample_rate, before[None, None]
        )[0]
        phase = turns.to(f0) * 2 * math.pi * scale
        voiced = (f0 > config.nsf_voiced_threshold).to(f0)[:, None]
        amplitude = voiced * config.nsf_sigma + (1 - voiced) * config.nsf_alpha / 3
        noise = self.noise(first * scale, len(f0) * scale).to(f0)
        sines = (phase.sin() * config.nsf_alpha * voiced)[:, None]
        excitation = sines + amplitude[:, None] * noise.view(len(f0), scale, -1)
        return torch.tanh(self.network.mix_source(excitation)).flatten(), turns

    def _f0(self, mel: Tensor, state: VocoderState, until: int, first: int) -> Tensor:
        """f0 of the window up to frame `until`; what was known keeps its value."""
        known = len(state.f0)
        begin = max(0, known - F0Predictor.BEHIND)
        opening = first + begin == 0
        part = mel[None, :, begin : until - first + F0Predictor.AHEAD]
        new = self.network.f0(part, opening=opening)[0]
        return torch.cat([state.f0, new[known if opening else 0 :]])

    def _steps(self, source: Tensor, frames: int, *, opening: bool) -> Tensor:
        """The spectrum of the source up to the end of so many frames, as `HiFT.filter` wants it."""
        spectrum = self.network.analyse(source[None])
        return spectrum[..., (0 if opening else 1) : frames * self.network.steps + 1]

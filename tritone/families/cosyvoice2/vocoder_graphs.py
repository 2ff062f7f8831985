"""What is exported of the vocoder: its pitch predictor, and its filter between the Fourier
transforms."""

import numpy as np
import torch
from torch import Tensor, nn

from tritone.acoustic.filter import FilterNetwork
from tritone.engines.sources import Graph, Profiles, Shape, Sizes
from tritone.families.cosyvoice2.vocoder import Vocoder, frame_noise
from tritone.families.cosyvoice2.voice import PROMPT_HOP, PROMPT_RATE, Voice, prompt_mel

_PITCH = (120.0, 240.0)  # Hz at the two ends of a sample
_HARMONICS = 30
_LEVEL, _NOISE = 0.1, 0.01


def vocoder_graphs(vocoder: Vocoder, profiles: Profiles) -> list[Graph]:
    """All graphs of a vocoder, float32 on the CPU."""
    pitch = PitchGraph(vocoder.network.f0, vocoder.bins, profiles)
    return [pitch, FilterGraph(vocoder, profiles)]


class VocoderFilter(nn.Module):
    """A network's filter as a module."""

    def __init__(self, network: FilterNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        return self.network.filter(mel, spectrum)


class VocoderGraph(Graph):
    """A network of the vocoder over mel, of which it takes `more` frames than a window has."""

    examples: tuple[Sizes, Sizes] = (
        {"streams": 2, "window_frames": 24},
        {"streams": 1, "window_frames": 33},
    )
    more = 0
    top_hz = Voice.mel_top_hz

    def __init__(self, module: nn.Module, bins: int, profiles: Profiles) -> None:
        axes = {"streams": profiles.streams, "window_frames": profiles.window_frames}
        super().__init__(module, axes)
        self._bins = bins

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return {"mel": (sizes["streams"], self._bins, sizes["window_frames"] + self.more)}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        rows, frames = range(sizes["streams"]), sizes["window_frames"] + self.more
        return {"mel": torch.stack([_voiced_mel(frames, seed + row, self.top_hz) for row in rows])}


class PitchGraph(VocoderGraph):
    """mel -> f0. In float32: the source's phase is the sum of f0 over all time."""

    name = "f0_predictor"
    outputs = ("f0",)
    half = False


class FilterGraph(VocoderGraph):
    """mel and the source's spectrum -> log magnitude and phase. See `HiFT.filter`."""

    name = "vocoder"
    served = True
    outputs = ("bins",)

    def __init__(self, vocoder: Vocoder, profiles: Profiles) -> None:
        super().__init__(VocoderFilter(vocoder.network), vocoder.bins, profiles)
        self.vocoder, self.config = vocoder, vocoder.config

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        config = self.config
        steps = config.samples_per_frame // config.istft_hop * sizes["window_frames"] + 1
        spectrum = (sizes["streams"], config.istft_n_fft + 2, steps)
        return {**super().shapes(sizes), "spectrum": spectrum}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        frames = sizes["window_frames"]
        noise = frame_noise(seed, 0, frames, self.config)
        source, _ = self.vocoder.source(gliding_pitch(frames)[None], noise)
        spectrum = self.vocoder.network.analyse(source)
        rows = sizes["streams"]
        return {**super().sample(sizes, seed), "spectrum": spectrum.repeat(rows, 1, 1)}


def gliding_pitch(frames: int) -> Tensor:
    """(frames,) f0 in Hz, with an unvoiced part."""
    f0 = torch.linspace(*_PITCH, frames)
    f0[frames // 2 : frames // 2 + 2] = 0.0
    return f0


def _voiced_mel(frames: int, seed: int, top_hz: float) -> Tensor:
    """(mel, frames) of a gliding tone with its harmonics in noise: a trained predictor, which says
    nothing of a random mel, hears its pitch."""
    random, samples = np.random.default_rng(seed), frames * PROMPT_HOP
    turns = np.cumsum(np.linspace(*_PITCH, samples)) / PROMPT_RATE + random.random()
    number = np.arange(1, _HARMONICS + 1)[:, None]
    tones = (np.sin(2 * np.pi * number * turns) / number).sum(axis=0)
    wav = _LEVEL * tones + _NOISE * random.standard_normal(samples)
    return torch.from_numpy(prompt_mel(wav.astype(np.float32), top_hz).T.copy())

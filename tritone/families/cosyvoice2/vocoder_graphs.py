"""The vocoder's graphs: its pitch predictor, and the network between the Fourier transforms."""

import numpy as np
import torch
from torch import Tensor

from tritone.engines.sources import Graph, Profiles, Shape, Sizes
from tritone.families.cosyvoice2.graph_modules import PitchPredictor, VocoderFilter
from tritone.families.cosyvoice2.harmonic_source import frame_noise
from tritone.families.cosyvoice2.prompt_mel import PROMPT_HOP, PROMPT_RATE, prompt_mel
from tritone.families.cosyvoice2.vocoder import Vocoder

_PITCH = (120.0, 240.0)  # Hz at the two ends of a sample
_HARMONICS = 30
_LEVEL, _NOISE = 0.1, 0.01


def vocoder_graphs(vocoder: Vocoder, profiles: Profiles) -> list[Graph]:
    """All graphs of a vocoder, float32 on the CPU."""
    return [PitchGraph(vocoder, profiles), FilterGraph(vocoder, profiles)]


class _VocoderGraph(Graph):
    examples = ({"streams": 2, "window_frames": 24}, {"streams": 1, "window_frames": 33})

    def __init__(self, vocoder: Vocoder, profiles: Profiles, module: torch.nn.Module) -> None:
        axes = {"streams": profiles.streams, "window_frames": profiles.window_frames}
        super().__init__(module, axes)
        self.vocoder, self.config = vocoder, vocoder.config

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return {"mel": (sizes["streams"], self.config.in_channels, sizes["window_frames"])}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        rows = range(sizes["streams"])
        return {"mel": torch.stack([_voiced_mel(sizes["window_frames"], seed + r) for r in rows])}


class PitchGraph(_VocoderGraph):
    """mel -> f0. In float32: the source's phase is the sum of f0 over all time."""

    name = "f0_predictor"
    outputs = ("f0",)
    half = False

    def __init__(self, vocoder: Vocoder, profiles: Profiles) -> None:
        super().__init__(vocoder, profiles, PitchPredictor(vocoder.network.f0))


class FilterGraph(_VocoderGraph):
    """mel and the source's spectrum -> log magnitude and phase. See `HiFT.filter`."""

    name = "vocoder"
    outputs = ("bins",)

    def __init__(self, vocoder: Vocoder, profiles: Profiles) -> None:
        super().__init__(vocoder, profiles, VocoderFilter(vocoder.network))

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        config = self.config
        steps = config.samples_per_frame // config.istft_hop * sizes["window_frames"] + 1
        spectrum = (sizes["streams"], config.istft_n_fft + 2, steps)
        return {**super().shapes(sizes), "spectrum": spectrum}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        frames = sizes["window_frames"]
        f0 = torch.linspace(*_PITCH, frames)[None]
        f0[:, frames // 2 : frames // 2 + 2] = 0.0  # unvoiced
        noise = frame_noise(seed, 0, frames, self.config)
        source, _ = self.vocoder.source(f0, noise)
        spectrum = self.vocoder.network.analyse(source)
        rows = sizes["streams"]
        return {**super().sample(sizes, seed), "spectrum": spectrum.repeat(rows, 1, 1)}


def _voiced_mel(frames: int, seed: int) -> Tensor:
    """(mel, frames) of a gliding tone with its harmonics in noise: a trained predictor, which says
    nothing of a random mel, hears its pitch."""
    random, samples = np.random.default_rng(seed), frames * PROMPT_HOP
    turns = np.cumsum(np.linspace(*_PITCH, samples)) / PROMPT_RATE + random.random()
    number = np.arange(1, _HARMONICS + 1)[:, None]
    tones = (np.sin(2 * np.pi * number * turns) / number).sum(axis=0)
    wav = _LEVEL * tones + _NOISE * random.standard_normal(samples)
    return torch.from_numpy(prompt_mel(wav.astype(np.float32)).T.copy())

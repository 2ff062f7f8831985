"""The harmonic source of HiFT (SineGen2 of CosyVoice2): f0 to a sum of sines and noise.

Phase is rounded to float32 in upstream's order of operations: it grows to 1e5 rad, where another
order or precision is heard by a parity test (up to 2.5e-2 after ten seconds).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.families.cosyvoice2.config import VocoderConfig


def accumulate_turns(
    f0: Tensor, config: VocoderConfig, sample_rate: int, before: Tensor | None
) -> Tensor:
    """Accumulated turns a sample of each harmonic at each frame, (1, T, harmonics) in float64.

    f0 (1, T) Hz; before (1, 1, harmonics) is the value at the frame before the first one, None at
    the start of an utterance. Summed in float64, as torch sums float32 on a CPU, and kept so: one
    sum from the start to the last bit, however it is cut into calls.
    """
    harmonics = torch.arange(1, config.nb_harmonics + 2, device=f0.device, dtype=f0.dtype)
    rate = ((f0[:, :, None] * harmonics / sample_rate) % 1).double()
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
    draws = np.empty((frames, *shape), dtype=np.float32)
    for offset in range(frames):
        bits = np.random.Philox(key=seed, counter=[0, 0, 0, first + offset])
        np.random.Generator(bits).standard_normal(shape, dtype=np.float32, out=draws[offset])
    return torch.from_numpy(draws.reshape(1, -1, shape[1]))

"""Tempo: linear interpolation of mel frames along time, whole or as they come."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class StretchState:
    """kept (mel, n): frames from index `first` on that later output still needs.

    produced: output frames so far.
    """

    kept: Tensor
    first: int = 0
    produced: int = 0


def stretch(mel: Tensor, speed: float) -> Tensor:
    """A whole mel (mel, T) at another tempo: int(T / speed) frames."""
    if speed == 1.0:
        return mel
    frames = int(mel.shape[1] / speed)
    if not frames:
        return mel[:, :0]
    return F.interpolate(mel[None], size=frames, mode="linear")[0]


def stretch_step(
    mel: Tensor, state: StretchState, speed: float, *, finalize: bool
) -> tuple[Tensor, StretchState]:
    """The next frames (mel, n) at another tempo; returns what is ready and the new state.

    Output frame j stands at input frame (j + 0.5) * speed - 0.5, where `stretch` puts it up to the
    rounding of the total length, which a stream does not know.
    """
    if speed == 1.0:
        return mel, state
    kept = torch.cat([state.kept, mel], dim=1)
    end = state.first + kept.shape[1]
    total = int(end / speed) if finalize else max(0, int((end - 0.5) / speed - 0.5))
    index = torch.arange(state.produced, max(total, state.produced), device=mel.device)
    place = ((index + 0.5) * speed - 0.5).clamp(0, end - 1)
    left = place.floor().long()
    right = (left + 1).clamp(max=end - 1)
    weight = (place - left).to(mel.dtype)
    out = kept[:, left - state.first] * (1 - weight) + kept[:, right - state.first] * weight
    produced = state.produced + len(index)
    needed = max(state.first, min(end, int(max(0.0, (produced + 0.5) * speed - 0.5))))
    return out, StretchState(kept[:, needed - state.first :], needed, produced)

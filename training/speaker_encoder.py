"""The speaker encoder: filter banks of a recording to one vector; ships as campplus.onnx."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import SpeakerEncoderConfig

VARIANCE_FLOOR = 1e-5  # under the square root of the pooling


class SpeakerEncoder(nn.Module):
    """A time-delay network with statistics pooling (Snyder et al. 2018, x-vectors), small.

    Input (rows, frames, 80): Kaldi filter banks at 100 Hz with the mean over time removed.
    Output (rows, embedding): not normalised.
    """

    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.convs = nn.ModuleList(
            nn.Conv1d(config.bins if i == 0 else width, width, 3, dilation=d, padding=d)
            for i, d in enumerate(config.dilations)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in config.dilations)
        self.output = nn.Linear(2 * width, config.embedding)

    def forward(self, fbank: Tensor) -> Tensor:
        x = fbank
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x.mT).mT))
        mean = x.mean(dim=1)
        deviation = ((x - mean[:, None]).square().mean(dim=1) + VARIANCE_FLOOR).sqrt()
        return self.output(torch.cat([mean, deviation], dim=1))  # type: ignore[no-any-return]

"""A WaveNet (van den Oord et al., 2016) over frames: gated convolutions, shifted by the ODE time.
Time-major."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.acoustic.linear import PackableLinear, WindowLinear
from tritone.families.indextts2.rows import Rows


class MirroredConv1d(WindowLinear):
    """A dilated convolution over (rows, frames, in) that mirrors frames beyond the ends."""

    def __init__(self, in_channels: int, out_channels: int, taps: int, dilation: int) -> None:
        super().__init__(in_channels, out_channels, taps)
        self.dilation = dilation
        beyond = (taps - 1) * dilation
        self.before, self.after = beyond - beyond // 2, beyond // 2

    def forward(self, x: Tensor) -> Tensor:
        x = self._mirrored(x)
        if self.dilation == 1:
            return super().forward(x)
        count = x.shape[1] - (self.taps - 1) * self.dilation
        starts = range(0, self.taps * self.dilation, self.dilation)
        windows = torch.cat([x[:, start : start + count] for start in starts], dim=2)
        return PackableLinear.forward(self, windows)

    def _mirrored(self, x: Tensor) -> Tensor:
        """Rows too short to be mirrored so far are first continued with zeros, as upstream does."""
        frames = x.shape[1]
        whole = max(frames, self.before + 1, self.after + 1)
        x = F.pad(x, (0, 0, 0, whole - frames))
        place = torch.arange(-self.before, frames + self.after, device=x.device).abs()
        return x.index_select(1, torch.minimum(place, 2 * (whole - 1) - place))


class WaveNet(nn.Module):
    """Residual layers whose gates are shifted, and the sum of what each passes on."""

    def __init__(self, width: int, layers: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.width = width
        self.gates = nn.ModuleList(
            MirroredConv1d(width, 2 * width, kernel, dilation**i) for i in range(layers)
        )
        # the last layer passes all of it on
        self.outputs = nn.ModuleList(
            PackableLinear(width, (2 if i < layers - 1 else 1) * width) for i in range(layers)
        )
        self.time = nn.Linear(width, 2 * width * layers)

    @property
    def reach(self) -> int:
        """Frames that a frame hears on its left; as many or fewer on its right."""
        return sum(gate.before for gate in self.gates if isinstance(gate, MirroredConv1d))

    def forward(self, x: Tensor, shifts: Sequence[Tensor], rows: Rows) -> Tensor:
        """x (frames of all rows, width) -> the same; shifts: (2 * width,) of each layer."""
        total, filling = torch.zeros_like(x), rows.filling(x.device)
        for gate, output, shift in zip(self.gates, self.outputs, shifts, strict=True):
            value, opening = (rows.each(gate, x) + shift).chunk(2, dim=1)
            passed = output(torch.tanh(value) * torch.sigmoid(opening))
            if passed.shape[1] > self.width:
                x = silenced(x + passed[:, : self.width], filling)
            total += passed[:, -self.width :]
        return silenced(total, filling)


def silenced(x: Tensor, frames: Tensor | None) -> Tensor:
    return x if frames is None else x.masked_fill(frames[:, None], 0)

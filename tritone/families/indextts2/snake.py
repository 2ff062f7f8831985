"""Snake activations between a doubling and a halving of the rate, so that what the sine adds above
half the rate does not fold back (BigVGAN; Lee et al., 2023).

Both filters are products of blocks of samples with a band matrix: a depthwise convolution of 12
taps takes two to three times as long on a CPU, and as many passes over memory.

    doubled   y[2 m + p] = 2 * sum of h[k] x[m + 2 - (k - 1 - p) / 2] over k of the parity 1 - p
    halved    z[m] = sum of h[k] y[2 m + k - 5] over all k
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

TAPS = 12
HEARD = TAPS // 2  # samples on either side that an output depends on, over both filters
_CUTOFF, _HALF_WIDTH = 0.25, 0.3  # of the doubled rate
_BLOCK = 16  # samples; of larger ones more of the matrices is zero, smaller ones are slower
_UP, _DOWN = TAPS // 4, TAPS // 2 - 1  # samples before a block that its outputs hear, at each rate


@lru_cache(maxsize=1)
def lowpass() -> Tensor:
    """The (TAPS,) coefficients that both filters share: a sinc under a Kaiser window whose sum is
    one."""
    attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 4 * _HALF_WIDTH + 7.95
    beta = 0.1102 * (attenuation - 8.7)  # Kaiser's formula above 50 dB
    window = torch.kaiser_window(TAPS, periodic=False, beta=beta, device="cpu")
    time = torch.arange(TAPS, device="cpu") - TAPS // 2 + 0.5
    taps = 2 * _CUTOFF * window * torch.sinc(2 * _CUTOFF * time)
    return taps / taps.sum()


@lru_cache(maxsize=1)
def doubling() -> Tensor:
    """(block and its surroundings, 2 * block)."""
    taps = lowpass()
    matrix = torch.zeros(_BLOCK + 2 * _UP, 2 * _BLOCK, device="cpu")
    for column in range(2 * _BLOCK):
        sample, phase = divmod(column, 2)
        for tap in range(1 - phase, TAPS, 2):
            matrix[_UP + sample + 2 - (tap - 1 - phase) // 2, column] = 2 * taps[tap]
    return matrix


@lru_cache(maxsize=1)
def halving() -> Tensor:
    """(2 * block and its surroundings, block)."""
    matrix = torch.zeros(2 * (_BLOCK + _DOWN), _BLOCK, device="cpu")
    for sample in range(_BLOCK):
        matrix[2 * sample : 2 * sample + TAPS, sample] = lowpass()
    return matrix


class Snake(nn.Module):
    """x + gain * sin(frequency * x)^2 of each channel, at twice the rate."""

    _doubling: Tensor
    _halving: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(channels))
        self.gain = nn.Parameter(torch.ones(channels))
        self.register_buffer("_doubling", doubling(), persistent=False)
        self.register_buffer("_halving", halving(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, channels, n), n >= 1 -> the same."""
        return self.halved(self.bent(self.doubled(x)))

    def bent(self, x: Tensor) -> Tensor:
        wave = (x * self.frequency[:, None]).sin_().square_()
        return torch.addcmul(x, wave, self.gain[:, None])

    def doubled(self, x: Tensor) -> Tensor:
        """(rows, channels, n) -> (rows, channels, 2 * n)."""
        samples = x.shape[-1]
        windows = _padded(x, _UP, samples).unfold(-1, _BLOCK + 2 * _UP, _BLOCK)
        return _product(windows, self._doubling)[..., : 2 * samples]

    def halved(self, x: Tensor) -> Tensor:
        """(rows, channels, 2 * n) -> (rows, channels, n)."""
        samples = x.shape[-1] // 2
        windows = _padded(x, _DOWN, samples).unfold(-1, 2 * (_BLOCK + _DOWN), 2 * _BLOCK)
        return _product(windows, self._halving)[..., :samples]


def _product(windows: Tensor, matrix: Tensor) -> Tensor:
    """(rows, channels, n, m) by (m, k) as a single product -> (rows, channels, n * k)."""
    flat = windows.reshape(-1, windows.shape[-1]) @ matrix
    return flat.view(*windows.shape[:2], -1)


def _padded(x: Tensor, side: int, samples: int) -> Tensor:
    """Continued by its first and last value: by `side` more on either side than whole blocks have.

    samples: at the lower rate.
    """
    spare = -samples % _BLOCK * (x.shape[-1] // samples)
    first, last = x[..., :1], x[..., -1:]
    begin, end = first.expand(-1, -1, side), last.expand(-1, -1, side + spare)
    return torch.cat([begin, x, end], dim=-1)

"""The noise of the vocoder's source: fixed numbers that belong to the sample, not to the stream.

They are not in the checkpoint. Upstream draws them once, right after it seeded torch with 0 and
drew the start noise of the flow and the first values of some layers: they depend on the sizes of
these.
"""

from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor

from tritone.families.cosyvoice2.acoustics import NOISE_FRAMES
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.hift import F0Predictor

ROWS = 7_200_000  # 300 s at 24 kHz
_BLOCK = 24_000  # rows that are drawn together; a divisor of ROWS
_KEPT = 40  # blocks in memory, 0.86 MB each


class SourceNoise:
    """Upstream's rows of uniform numbers from 0 to 1. Safe to use from several threads.

    A generator cannot jump, so its state at each block that was reached is kept (5 kB), and blocks
    that are not in memory are drawn again, in about half a millisecond. Upstream fails after 300 s;
    here the rows begin again.
    """

    def __init__(self, config: CosyVoice3Config) -> None:
        self._width = config.vocoder.nb_harmonics + 1
        self._generator = torch.Generator().manual_seed(0)
        self._draw_what_comes_before(config)
        self._states = [self._generator.get_state()]
        self._lock = Lock()
        self._block = lru_cache(_KEPT)(self._draw)

    def __call__(self, first: int, rows: int) -> Tensor:
        """(rows, harmonics) from sample `first` on."""
        begin, end = first // _BLOCK, -(-(first + rows) // _BLOCK)
        blocks = [self._block(index % (ROWS // _BLOCK)) for index in range(begin, end)]
        skipped = first - begin * _BLOCK
        return torch.cat(blocks)[skipped : skipped + rows]

    def _draw_what_comes_before(self, config: CosyVoice3Config) -> None:
        flow, hidden, generator = config.flow, config.vocoder.f0_channels, self._generator
        bins, kernel = config.vocoder.in_channels, F0Predictor.KERNEL
        torch.randn(flow.output_size, NOISE_FRAMES, generator=generator)
        torch.randn(flow.vocab_size, flow.output_size, generator=generator)  # token embedding
        layers = [  # inputs of one output, outputs: weights and biases are uniform
            (flow.spk_embed_dim, flow.output_size),
            (bins * (F0Predictor.AHEAD + 1), hidden),
            *[(hidden * kernel, hidden)] * F0Predictor.LAYERS,
            (hidden, 1),
        ]
        torch.rand(sum((size + 1) * count for size, count in layers), generator=generator)
        torch.rand(self._width, generator=generator)  # first phases, which have no effect

    def _draw(self, index: int) -> Tensor:
        with self._lock:
            for block in range(min(index, len(self._states) - 1), index + 1):
                self._generator.set_state(self._states[block])
                rows = torch.rand(_BLOCK, self._width, generator=self._generator)
                if block + 1 == len(self._states):
                    self._states.append(self._generator.get_state())
            return rows

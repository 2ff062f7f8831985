"""How a matrix of weights is stored: rounded to integers, and the scales to go with them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32

_SHORTEST_BLOCK = 32
LARGEST = 127  # code of a row, of either sign


@dataclass(frozen=True)
class BlockFormat:
    """bits (4 or 8) per weight; block_size input channels share one float32 scale."""

    bits: int
    block_size: int

    def fitting(self, columns: int) -> "BlockFormat":
        """The same with blocks that fill `columns` input channels: long blocks are read faster, but
        one that is padded costs as much as a full one."""
        size = self.block_size
        while columns % size and size > _SHORTEST_BLOCK:
            size //= 2
        return replace(self, block_size=size)


def quantize_blocks(weight: Float32, form: BlockFormat) -> tuple[NDArray[np.uint8], Float32]:
    """Round an (N, K) float32 matrix for MatMulNBits, to the nearest code around zero.

    Returns codes (N, B, block_size * bits / 8), two 4-bit codes a byte, low half first, and scales
    (N, B) of B = ceil(K / block_size) blocks a row, the last one padded. A weight is
    (code - 2^(bits-1)) * scale. The value of largest magnitude in a block takes the lowest code,
    because there is one more code below zero than above.
    """
    rows, columns = weight.shape
    blocks = -(-columns // form.block_size)
    padded = np.zeros((rows, blocks * form.block_size), np.float32)
    padded[:, :columns] = weight
    values = padded.reshape(rows, blocks, form.block_size)
    largest = np.take_along_axis(values, np.abs(values).argmax(-1)[..., None], -1)
    half = 2 ** (form.bits - 1)
    scales = largest / np.float32(-half)
    steps = np.divide(values, scales, out=np.zeros_like(values), where=scales != 0)
    codes = np.clip(np.rint(steps) + half, 0, 2 * half - 1).astype(np.uint8)
    if form.bits == 4:
        codes = codes[..., 0::2] | codes[..., 1::2] << 4
    return codes, scales[..., 0]


@dataclass(frozen=True)
class RowFormat:
    """8 bits per weight; an output channel has one float32 scale, and so has each position of what
    is multiplied. The sums are integers of whole rows: exact, whatever is multiplied beside them.
    """


Format = BlockFormat | RowFormat | None  # None keeps float32


def quantize_rows(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Round an (N, K) float32 matrix to the nearest codes, -127 to 127; a weight is code * scale.

    Returns codes (N, K) and scales (N,).
    """
    scales = np.maximum(weight.max(1), -weight.min(1)) / np.float32(LARGEST)
    scales[scales == 0] = 1
    steps = weight / scales[:, None]
    return np.rint(steps, out=steps).astype(np.int8), scales

"""Heads of attention, filled up to the widths that their operators take."""

import numpy as np

from tritone.arrays import Float32

_HEAD_MULTIPLE = 16  # of head sizes: of ONNX Runtime's GroupQueryAttention, and of our kernel


def pad_heads(weight: Float32, heads: int) -> Float32:
    """(heads * head_dim, ...) rows with each half of a head zero-padded to the operator's width.

    Rotation pairs the halves of a head, so each half grows on its own; zeros add nothing to scores
    or values.
    """
    head_dim = weight.shape[0] // heads
    half, padded_half = head_dim // 2, padded_head_dim(head_dim) // 2
    padded = np.zeros((heads, 2, padded_half, *weight.shape[1:]), np.float32)
    padded[:, :, :half] = weight.reshape(heads, 2, half, *weight.shape[1:])
    return padded.reshape(heads * 2 * padded_half, *weight.shape[1:])


def padded_head_dim(head_dim: int) -> int:
    return -(-head_dim // _HEAD_MULTIPLE) * _HEAD_MULTIPLE

"""The data types that a TensorRT-LLM checkpoint may have, and the rounding to them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import to_float32
from tritone.errors import InvalidRequest, ModelDirectoryError

STORAGE = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}  # name there: in safetensors


def check_dtype(dtype: str) -> None:
    """Raise InvalidRequest for a type that no checkpoint can have."""
    if dtype not in STORAGE:
        raise InvalidRequest("dtype", f"is {dtype!r}, expected one of {', '.join(STORAGE)}")


def to_dtype(values: Float32, dtype: str, name: str) -> NDArray[Any]:
    """Round float32 values to the nearest of `dtype`, to even where two are as near.

    bfloat16 comes as its bits, uint16. Raises ModelDirectoryError, naming the tensor, for values
    that are not finite or that `dtype` cannot hold.
    """
    if not np.isfinite(values).all():
        raise ModelDirectoryError(f"{name} has values that are NaN or infinite")
    if dtype == "bfloat16":
        bits = values.view(np.uint32)
        rounded: NDArray[Any] = ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)
    else:
        with np.errstate(over="ignore"):  # reported below
            rounded = values.astype(np.dtype(dtype), copy=False)
    if not np.isfinite(to_float32(rounded)).all():
        raise ModelDirectoryError(
            f"{name} has values up to {np.abs(values).max():.3g}, too large for {dtype}: convert "
            "with --dtype bfloat16"
        )
    return rounded

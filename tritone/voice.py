"""A voice as all rooms but its family's see it: named arrays, and how they travel."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from typing_extensions import Self

from tritone.errors import InvalidRequest

Arrays = Mapping[str, NDArray[Any]]


class Voice(Protocol):
    """What the models need to know of a speaker; its content is the family's own business."""

    @property
    def transcript(self) -> str:
        """What its prompt says; empty where that is unknown. Only the front end reads it."""
        ...

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but the transcript."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Arrays, transcript: str = "") -> Self:
        """The way back; raises ValueError saying which array is missing or of another shape."""
        ...


VoiceT = TypeVar("VoiceT", bound=Voice)


def digest(arrays: Arrays) -> bytes:
    """Of names, types, shapes and values: equal for equal voices."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.digest()


def pack(arrays: Arrays) -> bytes:
    """Named arrays as one tensor of bytes, in safetensors form."""
    packed: bytes = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    return packed


def open_voice(kind: type[VoiceT], data: bytes, field: str, transcript: str = "") -> VoiceT:
    """The voice in what `pack` gave, and came as the input `field`; raises InvalidRequest."""
    try:
        return kind.from_arrays(unpack(data), transcript)
    except Exception as error:  # of the library that reads the arrays, or of the family
        raise InvalidRequest(field, f"holds no voice: {error}") from error


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = load(data)
    return arrays

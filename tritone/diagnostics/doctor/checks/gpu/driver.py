"""What NVIDIA's driver says of itself and of its GPUs, asked in a process of its own.

The driver's library is asked and not nvidia-smi: it sees the devices that CUDA sees, in its order,
and knows what CUDA_VISIBLE_DEVICES leaves out. Functions: CUDA Driver API.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import Any

from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.profiles import DRIVER_FILES
from tritone.variables import DEVICE_VARIABLE

LIBRARY = "libcuda.so.1"
_LIMIT_S = 15.0
_CAPABILITY = (75, 76)  # attributes of a device: the two numbers of its compute capability
_MPS_ENABLED = 133  # "contexts created on this device will be shared via MPS"


@dataclass(frozen=True)
class Gpu:
    """capability: (major, minor). mps: whether processes of this environment use it through the
    Multi-Process Service; None where the driver is too old to say."""

    name: str
    capability: tuple[int, int]
    mps: bool | None


@dataclass(frozen=True)
class Driver:
    """cuda: the newest CUDA version that it runs, (major, minor). memory: (free, total) bytes of
    the device that was asked for."""

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]
    memory: tuple[int, int] | None

    def device(self, index: int) -> Gpu:
        """Raises EnvironmentProblem if there are not so many."""
        if index >= len(self.gpus):
            raise EnvironmentProblem(
                f"device cuda:{index} is wanted and CUDA sees {len(self.gpus)} GPUs "
                f"(CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES', 'is not set')})"
            )
        return self.gpus[index]


def has_driver() -> bool:
    return any(file.exists() for file in DRIVER_FILES)


def why_not(target: Target) -> str:
    """The reason to leave the GPU alone; empty where it is to be examined."""
    if not target.on_gpu:
        return "profile cpu uses no GPU"
    return "" if has_driver() else "no NVIDIA driver: see gpu.driver"


def ask_driver(memory_of: int | None = None) -> Driver:
    """Raises EnvironmentProblem with the driver's own error where it does not answer.

    memory_of: a device whose memory is wanted; that makes a CUDA context, for a moment.
    """
    outcome = call(answers, LIBRARY, "" if memory_of is None else str(memory_of), limit_s=_LIMIT_S)
    if outcome.late:
        raise EnvironmentProblem(f"the driver does not answer within {_LIMIT_S:g} s{outcome.wait}")
    if outcome.status != 0:
        raise EnvironmentProblem(outcome.last_line)
    answer = outcome.answer
    gpus = tuple(Gpu(name, tuple(capability), mps) for name, capability, mps in answer["devices"])
    cuda, memory = answer["cuda"], answer["memory"]
    return Driver((cuda // 1000, cuda % 1000 // 10), gpus, tuple(memory) if memory else None)


def answers(library: str, memory_of: str) -> dict[str, Any]:
    """In a process of its own: version, devices, and free and total bytes of the wanted device.

    Ends the process with the driver's own error where a call fails.
    """
    cuda = ctypes.CDLL(library)

    def call_driver(name: str, *arguments: object) -> None:
        if status := getattr(cuda, name)(*arguments):
            text = ctypes.c_char_p()
            cuda.cuGetErrorName(status, ctypes.byref(text))
            sys.exit(f"{name}: {(text.value or b'unknown error').decode()} ({status})")

    def number(name: str, *arguments: object) -> int:
        value = ctypes.c_int()
        call_driver(name, ctypes.byref(value), *arguments)
        return value.value

    call_driver("cuInit", 0)
    version, devices, memory = number("cuDriverGetVersion"), [], None
    for index in range(number("cuDeviceGetCount")):
        device = number("cuDeviceGet", index)
        name = ctypes.create_string_buffer(256)
        call_driver("cuDeviceGetName", name, 256, device)
        capability = [number("cuDeviceGetAttribute", which, device) for which in _CAPABILITY]
        shared = ctypes.c_int()
        unknown = cuda.cuDeviceGetAttribute(ctypes.byref(shared), _MPS_ENABLED, device)
        mps = None if unknown else bool(shared.value)
        devices.append((name.value.decode(), capability, mps))
        if memory_of == str(index):
            context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
            call_driver("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            call_driver("cuCtxSetCurrent", context)
            call_driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
            memory = [free.value, total.value]
    return {"cuda": version, "devices": devices, "memory": memory}


def device_index() -> int:
    """The device that the server's models would use: $TRITONE_DEVICE, cuda or cuda:N."""
    _, _, index = os.environ.get(DEVICE_VARIABLE, "").partition(":")
    return int(index) if index.isdecimal() else 0

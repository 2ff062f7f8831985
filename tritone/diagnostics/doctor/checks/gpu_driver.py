"""What NVIDIA's driver says of itself and of its GPUs, asked in a process of its own.

The driver's library is asked and not nvidia-smi: it sees the devices that CUDA sees, in its order,
and knows what CUDA_VISIBLE_DEVICES leaves out. Functions: CUDA Driver API.
"""

import json
import os
import sys
from dataclasses import dataclass

from tritone.diagnostics.doctor.isolated import STACKS_ON_SIGNAL, run_isolated
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.profiles import DRIVER_FILES
from tritone.serving.parameters import DEVICE_VARIABLE

LIBRARY = "libcuda.so.1"
_LIMIT_S = 15.0
_PROBE = """
import ctypes, json, sys
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
device_wanted = int(sys.argv[1])
cuda = ctypes.CDLL(sys.argv[2])
def call(name, *arguments):
    status = getattr(cuda, name)(*arguments)
    if status:
        text = c_char_p()
        cuda.cuGetErrorName(status, byref(text))
        sys.exit(f"{name}: {(text.value or b'unknown error').decode()} ({status})")
def number(name, *arguments):
    value = c_int()
    call(name, byref(value), *arguments)
    return value.value
call("cuInit", 0)
version = number("cuDriverGetVersion")
devices = []
for index in range(number("cuDeviceGetCount")):
    device = number("cuDeviceGet", index)
    name = ctypes.create_string_buffer(256)
    call("cuDeviceGetName", name, 256, device)
    capability = [number("cuDeviceGetAttribute", which, device) for which in (75, 76)]
    devices.append({"name": name.value.decode(), "capability": capability})
memory = None
if 0 <= device_wanted < len(devices):
    context, free, total = c_void_p(), c_size_t(), c_size_t()
    device = number("cuDeviceGet", device_wanted)
    call("cuDevicePrimaryCtxRetain", byref(context), device)
    call("cuCtxSetCurrent", context)
    call("cuMemGetInfo_v2", byref(free), byref(total))
    memory = [free.value, total.value]
print(json.dumps({"cuda": version, "devices": devices, "memory": memory}))
"""


@dataclass(frozen=True)
class Gpu:
    """capability: (major, minor) compute capability."""

    name: str
    capability: tuple[int, int]


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
    wanted = -1 if memory_of is None else memory_of
    command = [sys.executable, "-c", STACKS_ON_SIGNAL + _PROBE, str(wanted), LIBRARY]
    outcome = run_isolated(command, _LIMIT_S)
    if outcome.late:
        waits = f", waiting in {outcome.waiting}" if outcome.waiting else ""
        raise EnvironmentProblem(f"the driver does not answer within {_LIMIT_S:g} s{waits}")
    if outcome.status != 0:
        raise EnvironmentProblem(outcome.last_line)
    answer = json.loads(outcome.output)
    gpus = [Gpu(entry["name"], tuple(entry["capability"])) for entry in answer["devices"]]
    memory = answer["memory"]
    return Driver(
        cuda=(answer["cuda"] // 1000, answer["cuda"] % 1000 // 10),
        gpus=tuple(gpus),
        memory=tuple(memory) if memory else None,
    )


def device_index() -> int:
    """The device that the server's models would use: $TRITONE_DEVICE, cuda or cuda:N."""
    _, _, index = os.environ.get(DEVICE_VARIABLE, "").partition(":")
    return int(index) if index.isdecimal() else 0

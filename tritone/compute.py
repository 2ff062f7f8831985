"""Devices, precisions, kernels and CUDA graphs by the names that configurations use; torch alone.

A CUDA graph is a fixed series of kernels, recorded once and launched as one.
"""

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import torch

from tritone.errors import EnvironmentProblem

ResultT = TypeVar("ResultT")

DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_WIDE = 128  # channels; narrower networks are bound by everything but their products
_KERNELS_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_capturing = threading.Lock()  # torch allows one capture in a process
_warming = threading.local()  # whether this thread is in `recording`


def torch_device(name: str) -> torch.device:
    """The device "cpu", "cuda" or "cuda:N"; raises EnvironmentProblem where it cannot be used.

    "cuda" is the first GPU, and says so: tensors lie on "cuda:0", which is not equal to "cuda".
    On a GPU this process multiplies float32 with all of its bits from then on; cuDNN drops 13 of
    them otherwise, and pitch is heard.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EnvironmentProblem(f"device {name!r} is unknown; take cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise EnvironmentProblem(f"device {name!r} is not supported; take cpu or cuda")
    if device.type == "cpu":
        return device
    if torch.version.cuda is None:
        raise EnvironmentProblem(
            f"device {device} was asked for, but torch {torch.__version__} is built for the CPU "
            "alone: install a CUDA build, use the GPU container, or take the profile cpu"
        )
    count = torch.cuda.device_count()
    device = torch.device("cuda", device.index or 0)
    if device.index >= count:
        raise EnvironmentProblem(
            f"device {device} was asked for and torch sees {count} NVIDIA GPUs: check nvidia-smi "
            "and CUDA_VISIBLE_DEVICES, start a container with the GPU, or take the profile cpu"
        )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return device


def torch_dtype(name: str) -> torch.dtype | None:
    """The precision of a name in DTYPES; raises EnvironmentProblem for another."""
    if name not in DTYPES:
        raise EnvironmentProblem(f"precision {name!r} is none of {', '.join(DTYPES)}")
    return DTYPES[name]


def best_dtype(device: torch.device, channels: int) -> torch.dtype:
    """What a network runs best in: bfloat16 on a GPU, and on a CPU with units for it when the
    network has enough channels to gain from them; float32 elsewhere."""
    if device.type != "cpu":
        return torch.bfloat16
    instructions = torch.cpu.get_capabilities()
    units = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    return torch.bfloat16 if units and channels >= _WIDE else torch.float32


def keep_kernels(count: int) -> None:
    """Have oneDNN keep so many, unless the environment says how many; before the first is made.

    On a CPU, torch prepares one for each layer and each shape that it has seen: with too few they
    are made again and again, with many the process grows for hours. oneDNN's own limit is 1024.
    """
    os.environ.setdefault(_KERNELS_VARIABLE, str(count))


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Makes a GPU the current one of this thread for a while: each begins with the first."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def recording() -> Iterator[None]:
    """While a stage warms up, in its thread: what it computes may be recorded."""
    _warming.up = True
    try:
        yield
    finally:
        _warming.up = False


def is_recording() -> bool:
    return getattr(_warming, "up", False)


class GraphCache(Generic[ResultT]):
    """Replays functions of static buffers that were recorded, each under a key; calls all others.

    A function reads and writes tensors that stay where they are. What it returns is overwritten by
    the next call of any function of this cache, since all of them share their memory. A key that
    was not recorded costs time and no more: recording takes as long as many calls and would stop
    every stream, so it is for the warm-up. On a CPU nothing is recorded. Not thread-safe.

    Without a graph a small model is bound by the launches of its kernels, some microseconds each.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, ResultT]] = {}
        self._pool: Any = None  # one memory pool: graphs run one after another
        self._side: torch.cuda.Stream | None = None

    def __contains__(self, key: Hashable) -> bool:
        return key in self._graphs

    def __call__(self, key: Hashable, function: Callable[[], ResultT]) -> ResultT:
        if key not in self._graphs:
            with on_device(self._device):
                return function()
        graph, result = self._graphs[key]
        with on_device(self._device):
            graph.replay()
        return result

    def record(self, key: Hashable, function: Callable[[], ResultT]) -> None:
        """Record a function, which runs for it: on buffers that hold nothing of any stream."""
        if self._device.type != "cuda" or key in self._graphs:
            return
        with on_device(self._device), _capturing:
            self._graphs[key] = self._recorded(function)

    def _recorded(self, function: Callable[[], ResultT]) -> tuple[torch.cuda.CUDAGraph, ResultT]:
        side = self._side = self._side or torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):  # libraries choose kernels and take workspace outside a graph
            for _ in range(2):
                function()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile. torch's own stream for captures is on the
        # first device that captured.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=side, capture_error_mode="thread_local"
        ):
            result = function()
        self._pool = self._pool or graph.pool()
        return graph, result

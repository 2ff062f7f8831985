"""Devices, precisions, kernels and CUDA graphs by the names that configurations use; torch alone.

A CUDA graph is a fixed series of kernels, recorded once and launched as one.
"""

import os
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch

from tritone.errors import EnvironmentProblem

ResultT = TypeVar("ResultT")

DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_WIDE = 128  # channels; narrower networks are bound by everything but their products
_KERNELS_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def torch_device(name: str) -> torch.device:
    """The device "cpu", "cuda" or "cuda:N"; raises EnvironmentProblem where it cannot be used."""
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
    if (device.index or 0) >= count:
        raise EnvironmentProblem(
            f"device {device} was asked for and torch sees {count} NVIDIA GPUs: check nvidia-smi "
            "and CUDA_VISIBLE_DEVICES, start a container with the GPU, or take the profile cpu"
        )
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


class GraphCache(Generic[ResultT]):
    """Records a function of static buffers once for each key and replays it from then on.

    The function reads and writes tensors that stay where they are and returns tensors that the
    next replay of the same key overwrites. On a CPU it is simply called. Not thread-safe.

    Without a graph a small model is bound by the launches of its kernels, some microseconds each.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, ResultT]] = {}
        self._pool: Any = None  # one memory pool: graphs run one after another

    def __call__(self, key: Hashable, function: Callable[[], ResultT]) -> ResultT:
        if self._device.type != "cuda":
            return function()
        if key not in self._graphs:
            self._graphs[key] = self._record(function)
        graph, result = self._graphs[key]
        graph.replay()
        return result

    def _record(self, function: Callable[[], ResultT]) -> tuple[torch.cuda.CUDAGraph, ResultT]:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):  # libraries choose kernels and take workspace outside a graph
            for _ in range(2):
                function()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # other threads may use the device meanwhile
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = function()
        self._pool = self._pool or graph.pool()
        return graph, result

"""CUDA graphs: a fixed series of kernels, recorded once and launched as one."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch

ResultT = TypeVar("ResultT")


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

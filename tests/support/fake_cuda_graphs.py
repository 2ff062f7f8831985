"""CUDA graphs on a CPU: a capture notes operators and their tensors, a replay runs them again.

As on a GPU, what is captured is not executed, numbers of Python are frozen, a replay reads and
writes the same memory, what another graph of the same memory pool returned is lost, and what a GPU
refuses in a capture is refused: another capture, and values that go to or come from the host.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda", 0)
_REFUSED = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "item", "equal")


class CaptureRefused(RuntimeError):
    """What CUDA would not capture."""


class _Capture(TorchDispatchMode):
    def __init__(self, calls: list[Callable[[], None]], made: list[torch.Tensor]) -> None:
        super().__init__()
        self._calls, self._made = calls, made

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, func._schema.name.split("::")[1]
        if name in _REFUSED:
            raise CaptureRefused(f"{name} while a graph is captured")
        given = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        writes = [
            given[argument.name]
            for argument in func._schema.arguments
            if argument.alias_info and argument.alias_info.is_write and argument.name in given
        ]
        if writes and all(value.alias_info for value in func._schema.returns):
            self._calls.append(lambda: func(*args, **kwargs))
            return writes[0]
        spared = [arg.clone() if any(arg is w for w in writes) else arg for arg in args]
        out = func(*spared, **kwargs)  # for its shape and place
        if not _shares_memory(out, (args, kwargs)):
            tree_map_only(torch.Tensor, self._made.append, out)
            self._calls.append(lambda: _copy(func(*args, **kwargs), out))
        return out


def _shares_memory(out: Any, given: Any) -> bool:
    def places(values: Any) -> set[int]:
        tensors = [t for t in tree_flatten(values)[0] if isinstance(t, torch.Tensor)]
        return {t.untyped_storage().data_ptr() for t in tensors if t.numel()}

    return bool(places(out) & places(given))


def _copy(source: Any, target: Any) -> None:
    for new, kept in zip(tree_flatten(source)[0], tree_flatten(target)[0], strict=True):
        if isinstance(new, torch.Tensor):
            assert new.shape == kept.shape, "a graph has one shape"
            kept.copy_(new)


class Graph:
    """In the place of `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.made: list[torch.Tensor] = []
        self.replays = 0
        self.shared: list[Graph] = [self]

    def pool(self) -> "list[Graph]":
        return self.shared

    def replay(self) -> None:
        self.replays += 1
        for other in self.shared:
            for tensor in other.made if other is not self else ():
                tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
        with torch.inference_mode():
            for call in self.calls:
                call()


class Gpu:
    """What was captured, in which streams, and which device each thread made its own."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.devices: list[tuple[int, torch.device]] = []
        self.allowed = True  # whether a capture may begin
        self._busy = threading.Lock()

    @contextmanager
    def capture(
        self,
        cuda_graph: Graph,
        pool: Any = None,
        stream: Any = None,
        capture_error_mode: str = "global",
    ) -> Iterator[None]:
        assert self.allowed, "a capture while streams are served"
        assert stream is not None, "torch's own stream is on the first device that captured"
        if not self._busy.acquire(blocking=False):
            raise CaptureRefused("another capture is under way in this process")
        try:
            if pool is not None:
                cuda_graph.shared = pool
                pool.append(cuda_graph)
            with _Capture(cuda_graph.calls, cuda_graph.made):
                yield
        finally:
            self._busy.release()
        self.graphs.append(cuda_graph)

    def device(self, device: torch.device) -> Any:
        self.devices.append((threading.get_ident(), device))
        return nullcontext()


def plug_in(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """Let torch have CUDA graphs of CPU tensors, for what believes to be on a GPU."""
    gpu = Gpu()
    idle = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "CUDAGraph": Graph,
        "graph": gpu.capture,
        "device": gpu.device,
        "Stream": lambda device: SimpleNamespace(wait_stream=lambda other: None, device=device),
        "current_stream": lambda device: idle,
        "stream": lambda stream: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return gpu

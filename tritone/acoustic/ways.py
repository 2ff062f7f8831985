"""Which way of attention serves on this processor: a kernel in C, or torch's operators.

Chosen when a flow is placed, for all of its streams. In float32 nothing is measured: a stream is to
be the same to the last bit each time, also after a restart. Scores in bfloat16 (plain) are taken
only by name.
"""

import os
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from tritone.acoustic.attention import Way, fused_by_span, joined, plain, use
from tritone.acoustic.cache import Span
from tritone.acoustic.kernels.native import NativeAttention
from tritone.compute import DTYPES
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import ATTENTION_KERNELS

AUTO, FUSED = "auto", "fused"
_TORCH: dict[str, Way] = {FUSED: fused_by_span, "joined": joined, "plain": plain}
NAMES = (AUTO, *(kernel.name for kernel in ATTENTION_KERNELS), *_TORCH)
_PAST = (150, 250)  # frames before a chunk: of a prompt, and of speech
_ROUNDS, _CALLS = 5, 3
_WORTH = 0.9  # of the time of the best before it, else a way is not taken


def choose(asked: str, query: Tensor) -> str:
    """Have attention on a CPU go the way `asked`, one of NAMES, from now on in this process.

    query: like those of a chunk, (rows, heads, n, head_dim). Returns the name, with the times that
    decided and the kernels that were left out because they cannot be loaded. Raises
    EnvironmentProblem for an unknown way, and for a kernel by name that is not built, that this
    processor cannot run, that cannot be loaded, or that takes no such queries.
    """
    if asked not in NAMES:
        raise EnvironmentProblem(f"attention is {asked!r}; take one of {', '.join(NAMES)}")
    if asked != AUTO:
        use(query.dtype, _TORCH[asked] if asked in _TORCH else _guarded(_kernel(asked, query)))
        return asked
    kernels, left_out = _kernels(query)
    ways = {kernel.name: _guarded(kernel) for kernel in kernels}
    if query.dtype == torch.float32:
        name, way = next(iter(ways.items()), (FUSED, fused_by_span))
        use(query.dtype, way)
        return "; ".join([name, *left_out])
    ways = {FUSED: fused_by_span, **ways, "joined": joined}
    seconds = _measured(ways, query)
    name = FUSED
    for other in ways:
        if seconds[other] < _WORTH * seconds[name]:
            name = other
    use(query.dtype, ways[name])
    times = ", ".join(f"{other} {1000 * took:.2f}" for other, took in seconds.items())
    return "; ".join([f"{name} ({times} ms)", *left_out])


def _kernel(name: str, query: Tensor) -> NativeAttention:
    kernel = next(kernel for kernel in ATTENTION_KERNELS if kernel.name == name)
    if not kernel.runs_here:
        raise EnvironmentProblem(f"attention is {name}: this processor lacks {kernel.lacking}")
    if not os.path.exists(kernel.path):
        raise EnvironmentProblem(f"attention is {name}, which is not built: run `tritone kernels`")
    try:
        native = NativeAttention(kernel, kernel.path)
    except EnvironmentProblem as problem:
        raise EnvironmentProblem(
            f"attention is {name}: {problem}; auto takes another way"
        ) from problem
    if not native.accepts(query):
        raise EnvironmentProblem(
            f"attention is {name}, which does not take {query.dtype} and heads of {query.shape[-1]}"
        )
    return native


def _kernels(query: Tensor) -> tuple[list[NativeAttention], list[str]]:
    """Those that are built, for such queries; why others that are built cannot be loaded."""
    natives, left_out = [], []
    for kernel in ATTENTION_KERNELS:
        # os.path, as pathlib raises where the folder is closed to this user
        if not (
            kernel.runs_here and DTYPES[kernel.dtype] is query.dtype and os.path.exists(kernel.path)
        ):
            continue
        try:
            natives.append(NativeAttention(kernel, kernel.path))
        except EnvironmentProblem as problem:
            left_out.append(f"without {kernel.name}: {problem}")
    return [native for native in natives if native.accepts(query)], left_out


def _guarded(native: NativeAttention) -> Way:
    """Another network of this process may have heads that it does not take."""

    def attend(query: Tensor, spans: Sequence[Span]) -> Tensor:
        return native(query, spans) if native.accepts(query) else fused_by_span(query, spans)

    return attend


def _measured(ways: dict[str, Way], query: Tensor) -> dict[str, float]:
    """Seconds of CPU of a call, the best of some rounds in turn."""
    draw = torch.Generator().manual_seed(0)
    rows, heads, frames, width = query.shape
    spans = [
        Span(*torch.randn(2, rows, heads, count, width, generator=draw).to(query.dtype))
        for count in (*_PAST, frames)
    ]
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            begin = time.thread_time()
            for _ in range(_CALLS):
                way(query, spans)
            best[name] = min(best[name], (time.thread_time() - begin) / _CALLS)
    return best

"""Where and how flow and vocoder run: device, precision, and what the flow keeps for streams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tritone import kernel_choice
from tritone.acoustic.estimator import VelocityEstimator
from tritone.acoustic.filter import ChannelsLastFilter, Filter, FilterNetwork, GraphedFilter
from tritone.acoustic.fused import trial
from tritone.acoustic.kernels.int8 import int8_linear
from tritone.acoustic.linear import pack_for_cpu, round_to_int8
from tritone.acoustic.paged_solver import PagedSolver, page_bytes
from tritone.acoustic.solver import GUIDED_ROWS, EulerSolver, Solver, SolverSettings
from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.ways import AUTO, choose
from tritone.compute import best_dtype, torch_device
from tritone.errors import EnvironmentProblem
from tritone.loading.steps import note, step

FlowPlan = Callable[[EulerSolver, torch.dtype, torch.device], Solver]
"""Opens the solver on a plan of the estimator, built in that precision; the Euler solver's own
estimator is in float32."""

FilterPlan = Callable[[torch.dtype, torch.device], Filter]
"""Opens the filter on a plan, built in that precision."""

FEWEST_PAGES = 4  # beside the chunks in view of one stream: of a short prompt and the next chunk
POOLED_LEFT_CHUNKS = 6  # in a pool, where nobody says: each stream's share is reserved


@dataclass(frozen=True)
class PoolSettings:
    """Caches of a fixed size for streams that are solved together, as CUDA graphs need them.

    cache_mb: memory for keys and values; 0 for half of the GPU's that is free at the start.
    streams: that may be open, prepared voices included. batch: streams in one step. kernels: one of
    `tritone.kernel_choice.NAMES`.
    """

    cache_mb: int = 0
    streams: int = 128
    batch: int = 16
    kernels: str = kernel_choice.AUTO


_PREPARED_FEW, _PREPARED_MOST, _SEVERAL = 64 << 20, 1 << 30, 4


@dataclass(frozen=True)
class FlowSettings:
    """left_chunks: attention chunks of the past that stay visible beside the prompt, 0 for all,
    None for what the family has where nobody says, and POOLED_LEFT_CHUNKS in a pool.

    dtype: of the weights, None for `best_dtype`. cache_dtype: storage of keys and values where each
    stream has caches of its own, None for the weights' dtype, which they have in a pool too.
    prepared_bytes: memory for prepared voices, of which the one in use is kept whatever its size;
    None chooses: 1 GiB, and on a CPU 64 MiB where four voices need no more. device: "cpu", "cuda"
    or "cuda:N". pool: None for caches that grow with each stream. plans: whether a
    TensorRT plan, built in `dtype`, runs the estimator in the place of torch; caches grow then too.
    attention: on a CPU, one of `tritone.acoustic.ways.NAMES`. int8: whether the estimator's layers
    have int8 weights, between what stays in `dtype`; on a CPU.
    most_chunks: at once, of a stream that is alone, in a short dtype: a pass over one chunk leaves
    the matrix units of a CPU half idle. In float32 chunks stay apart, so that a stream is the same
    to the last bit every time.
    """

    left_chunks: int | None = None
    cache_dtype: torch.dtype | None = None
    prepared_bytes: int | None = None
    device: str = "cpu"
    dtype: torch.dtype | None = None
    pool: PoolSettings | None = None
    plans: bool = False
    attention: str = AUTO
    int8: bool = False
    most_chunks: int = 4

    def keeps(self, sizes: Sequence[int]) -> bool:
        """Whether prepared voices of so many bytes may all stay."""
        if len(sizes) <= 1:
            return True
        most = self.prepared_bytes
        if most is None:
            small = self.device == "cpu" and len(sizes) > _SEVERAL
            most = _PREPARED_FEW if small else _PREPARED_MOST
        return sum(sizes) <= most


@dataclass(frozen=True)
class VocoderSettings:
    """device: "cpu", "cuda" or "cuda:N". plans: whether a TensorRT plan, built in `dtype`, runs the
    filter. dtype: of the filter on a CPU or in a plan, None for `best_dtype`; without a plan it is
    float32 on a GPU.
    """

    device: str = "cpu"
    dtype: torch.dtype | None = None
    plans: bool = False


def flow_of(profile: str) -> FlowSettings:
    """The settings that a server's profile has by default."""
    if profile == "cpu":
        return FlowSettings()
    return FlowSettings(device="cuda", pool=PoolSettings())


def place(
    network: nn.Module,
    estimator: VelocityEstimator,
    solver_config: SolverConfig,
    settings: FlowSettings,
    *,
    plan: FlowPlan | None = None,
) -> tuple[EulerSolver, Solver, torch.device]:
    """Put a flow's network, of which the estimator is a part, where the settings want it.

    Returns the solver of one pass and that of the steps. plan: opens it where `settings.plans`.
    Raises EnvironmentProblem for settings that cannot be.
    """
    assert settings.plans == (plan is not None), "plans come with what opens them"
    _check(settings)
    device = torch_device(settings.device)
    dtype = settings.dtype or best_dtype(device, estimator.channels)
    with step("flow packing" if device.type == "cpu" else "flow placement"):
        network.to(device, torch.float32 if plan else dtype)
        if device.type == "cpu":
            if settings.int8:
                round_to_int8(estimator.int8_parts, int8_linear(dtype))
            pack_for_cpu(network, GUIDED_ROWS * estimator.chunk_frames)
            shape = (GUIDED_ROWS, estimator.heads, estimator.chunk_frames, estimator.head_dim)
            choose_attention(settings.attention, shape, dtype)
        kept = SolverSettings(
            left_chunks=_left_chunks(settings),
            most_chunks=1 if dtype == torch.float32 else settings.most_chunks,
            cache_dtype=(not settings.pool and settings.cache_dtype) or dtype,
        )
        euler = EulerSolver(estimator, solver_config, kept)
        if plan:
            with step("flow plan"):
                return euler, plan(euler, dtype, device), device
        if settings.pool:
            with step("flow cache"):
                return euler, _pooled(euler, settings.pool), device
        return euler, euler, device


def choose_attention(asked: str, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    """Of a chunk's queries, (rows, heads, n, head_dim), on a CPU; see `choose`. The step of loading
    that runs tells of it."""
    note(f"attention {choose(asked, torch.randn(shape).to(dtype))}")


def place_filter(
    network: FilterNetwork, settings: VocoderSettings, *, plan: FilterPlan | None = None
) -> Filter:
    """Put a vocoder's network where the settings want it; returns the way to run its filter.

    plan: opens it where `settings.plans`. Raises EnvironmentProblem for a device there is not.
    """
    assert settings.plans == (plan is not None), "plans come with what opens them"
    device = torch_device(settings.device)
    dtype = settings.dtype or best_dtype(device, network.width)
    with step("vocoder placement"):
        network.to(device)
        if plan:
            with step("vocoder plan"):
                return plan(dtype, device)
        if device.type == "cuda":
            return GraphedFilter(network)
        return ChannelsLastFilter(network, dtype)


def is_exact(filter: Filter) -> bool:
    """Whether equal calls give equal samples, to the last bit: in float32 on a CPU."""
    return isinstance(filter, ChannelsLastFilter) and filter.dtype == torch.float32


def _left_chunks(settings: FlowSettings) -> int:
    if settings.left_chunks is None:
        return POOLED_LEFT_CHUNKS if settings.pool else 0
    return settings.left_chunks


def check_int8(settings: FlowSettings) -> None:
    """Raises EnvironmentProblem where int8 is asked for beside what cannot have it."""
    if settings.int8 and (settings.plans or settings.device != "cpu"):
        raise EnvironmentProblem("dtype is int8, which a CPU alone multiplies: take another")


def _check(settings: FlowSettings) -> None:
    check_int8(settings)
    if settings.left_chunks and settings.plans:
        raise EnvironmentProblem(
            f"left_context_chunks is {settings.left_chunks}: the estimator's plan sees all of the "
            "past; set it to 0, or the engine to torch"
        )


def _pooled(euler: EulerSolver, pool: PoolSettings) -> PagedSolver:
    fused = trial.choose(pool.kernels, euler.estimator)
    device, page = euler.estimator.device, page_bytes(euler.estimator, len(euler.steps))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    memory = pool.cache_mb << 20
    if not memory:
        assert free is not None, "without a GPU the size of the pool is given"
        memory = free // 2
    fewest = FEWEST_PAGES + (euler.settings.left_chunks or FEWEST_PAGES)
    needed = fewest * page
    if memory < needed or (free is not None and free < memory):
        seen = "" if free is None else f"; {free >> 20} MB of {device} are free"
        raise EnvironmentProblem(
            f"the flow's cache has {memory >> 20} MB and needs {-(-needed >> 20)} MB for "
            f"{fewest} chunks of speech{seen}: free some, or set cache_mb"
        )
    pages = memory // page
    return PagedSolver(euler, pages=pages, streams=pool.streams, batch=pool.batch, fused=fused)

"""Where and how the flow runs: its device, its precision, and what it keeps for streams."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tritone.compute.device import best_dtype, torch_device
from tritone.acoustic.linear import pack_for_cpu
from tritone.acoustic.paged_solver import PagedSolver, page_bytes
from tritone.acoustic.solver import GUIDED_ROWS
from tritone.errors import EnvironmentProblem
from tritone.families.cosyvoice2.flow import Flow
from tritone.loading.steps import step

FEWEST_PAGES = 8  # a prompt of three seconds and a few seconds of speech

CHUNKS_AT_ONCE = 4
"""Of a stream that is alone, on a CPU in bfloat16: a pass over one chunk leaves the matrix units
half idle. In float32 chunks stay apart, so that a stream is the same to the last bit every time."""


@dataclass(frozen=True)
class PoolSettings:
    """Caches of a fixed size for streams that are solved together, as CUDA graphs need them.

    cache_mb: memory for keys and values; 0 for half of the GPU's that is free at the start.
    streams: that may be open, prepared voices included. batch: streams in one step.
    """

    cache_mb: int = 0
    streams: int = 128
    batch: int = 16


@dataclass(frozen=True)
class FlowSettings:
    """left_chunks: attention chunks of the past that stay visible beside the prompt, 0 for all.

    dtype: of the weights, None for `best_dtype`. cache_dtype: storage of keys and values where each
    stream has caches of its own, None for the weights' dtype, which they have in a pool too.
    prepared_bytes: memory for prepared voices; the one in use is kept whatever its size. device:
    "cpu", "cuda" or "cuda:N". pool: None for caches that grow with each stream. plans: the model
    directory whose TensorRT plan, built in `dtype`, runs the estimator in the place of torch;
    caches grow then too.
    """

    left_chunks: int = 0
    cache_dtype: torch.dtype | None = None
    prepared_bytes: int = 1 << 30
    device: str = "cpu"
    dtype: torch.dtype | None = None
    pool: PoolSettings | None = None
    plans: Path | None = None


def flow_of(profile: str) -> FlowSettings:
    """The settings that a server's profile has by default."""
    if profile == "cpu":
        return FlowSettings()
    return FlowSettings(device="cuda", pool=PoolSettings())


def place(flow: Flow, settings: FlowSettings) -> torch.device:
    """Put a flow where the settings want it; raises EnvironmentProblem when that cannot be."""
    device = torch_device(settings.device)
    guided = flow.config.solver.guided_steps
    if guided is not None and (settings.plans or settings.pool):
        raise EnvironmentProblem(
            f"guided_steps is {guided}: plans and the GPU's pool guide every step; set it to 0"
        )
    flow.euler.left_chunks = settings.left_chunks
    dtype = settings.dtype or best_dtype(device, flow.config.estimator.channels)
    flow.euler.cache_dtype = (not settings.pool and settings.cache_dtype) or dtype
    flow.euler.most_chunks = 1 if dtype == torch.float32 else CHUNKS_AT_ONCE
    with step("flow packing" if device.type == "cpu" else "flow placement"):
        flow.to(device, torch.float32 if settings.plans else dtype)
        if device.type == "cpu":
            pack_for_cpu(flow, GUIDED_ROWS * flow.config.chunk_size * flow.config.token_mel_ratio)
        if settings.plans:
            _use_plan(flow, settings.plans, settings.left_chunks, dtype, device)
        elif settings.pool:
            _use_pool(flow, device, settings.pool)
    return device


def _use_pool(flow: Flow, device: torch.device, pool: PoolSettings) -> None:
    with step("flow cache"):
        pages = _pages(flow, device, pool)
        flow.solver = PagedSolver(flow.euler, pages=pages, streams=pool.streams, batch=pool.batch)


def _use_plan(
    flow: Flow, model_dir: Path, left_chunks: int, dtype: torch.dtype, device: torch.device
) -> None:
    # only what runs on plans needs what builds and checks them
    from tritone.engines.served_plans import plan_solver

    if left_chunks:
        raise EnvironmentProblem(
            f"left_context_chunks is {left_chunks}: the estimator's plan sees all of the "
            "past; set it to 0, or the engine to torch"
        )
    with step("flow plan"):
        flow.solver = plan_solver(flow, model_dir, dtype, device)


def _pages(flow: Flow, device: torch.device, pool: PoolSettings) -> int:
    page = page_bytes(flow.estimator, len(flow.euler.times))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    memory = pool.cache_mb << 20
    if not memory:
        assert free is not None, "without a GPU the size of the pool is given"
        memory = free // 2
    needed = FEWEST_PAGES * page
    if memory < needed or (free is not None and free < memory):
        seen = "" if free is None else f"; {free >> 20} MB of {device} are free"
        raise EnvironmentProblem(
            f"the flow's cache has {memory >> 20} MB and needs {-(-needed >> 20)} MB for "
            f"{FEWEST_PAGES} seconds of speech{seen}: free some, or set cache_mb"
        )
    return int(memory // page)

"""Plans of this machine on torch CUDA tensors, and in the place of a family's torch modules."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tritone.acoustic.ode import Trajectory
from tritone.acoustic.solver import (
    GUIDED_ROWS,
    ChunkInput,
    EulerSolver,
    StreamState,
    guide,
    without_too,
)
from tritone.engines.machine import import_tensorrt, this_machine
from tritone.engines.record import check_part, plan_path
from tritone.engines.sources import Sources
from tritone.errors import ModelDirectoryError, Overloaded, StageFailed

Placed = Callable[[Tensor], dict[str, Tensor]]
"""Positions (rows, n), from the first frame of the prompt -> inputs of a plan that depend on them,
float32 on the same device."""


def _nothing(positions: Tensor) -> dict[str, Tensor]:
    return {}


def open_plan(
    sources: Sources, part: str, name: str, dtype: torch.dtype, device: torch.device
) -> "Plan":
    """Load a plan of this machine that was built in `dtype` and accepted.

    Raises ModelDirectoryError for a plan that is missing, refused, or of another machine or other
    weights, naming what differs, and EnvironmentProblem without TensorRT.
    """
    machine, precision = this_machine(), str(dtype).removeprefix("torch.")
    folder = check_part(sources.model_dir, name, machine, precision, sources.digest(part))
    return Plan(plan_path(folder, name), device)


class Plan:
    """A loaded plan: tensors in by name, tensors out by name.

    It runs on a stream of its own, since TensorRT synchronises on the default one; the caller's
    stream waits for it. Calls of several threads take turns: they share the plan's scratch memory.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        """Load a plan file; raises ModelDirectoryError if TensorRT does not take it."""
        trt = import_tensorrt()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))  # outlives its engines
        with torch.cuda.device(device):
            engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
            context = None if engine is None else engine.create_execution_context()
        if context is None:
            raise ModelDirectoryError(
                f"{path} is not a plan for this GPU and version, or the GPU's memory is full; "
                "build it again: tritone engines"
            )
        self.name, self.device = path.stem, device
        self._engine, self._context = engine, context
        types = {
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.HALF: torch.float16,
            trt.DataType.BF16: torch.bfloat16,
            trt.DataType.BOOL: torch.bool,
            trt.DataType.INT32: torch.int32,
            trt.DataType.INT64: torch.int64,
        }
        self.inputs: dict[str, torch.dtype] = {}
        self.outputs: dict[str, torch.dtype] = {}
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            given = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            tensors = self.inputs if given else self.outputs
            tensors[name] = types[engine.get_tensor_dtype(name)]
        self._lock = threading.Lock()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the plan once; the inputs must have the types of `Plan.inputs` and lie on its device.

        Raises StageFailed, naming the tensor, for a shape outside the plan's profile.
        """
        assert inputs.keys() == self.inputs.keys(), f"{self.name} takes {sorted(self.inputs)}"
        caller, stream = torch.cuda.current_stream(self.device), self._stream
        with self._lock, torch.cuda.device(self.device), torch.cuda.stream(stream):
            stream.wait_stream(caller)
            given = {name: tensor.contiguous() for name, tensor in inputs.items()}
            for name, tensor in given.items():
                self._bind(name, tensor)
            outputs = {}
            for name, dtype in self.outputs.items():
                shape = tuple(self._context.get_tensor_shape(name))
                outputs[name] = torch.empty(shape, dtype=dtype, device=self.device)
                self._context.set_tensor_address(name, outputs[name].data_ptr())
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise StageFailed(self.name, "TensorRT could not run it; its log has the cause")
            caller.wait_stream(stream)
        for tensor in inputs.values():  # memory is given to another only after both are done
            tensor.record_stream(stream)
        for tensor in outputs.values():
            tensor.record_stream(caller)
        return outputs

    def _bind(self, name: str, tensor: Tensor) -> None:
        assert tensor.dtype == self.inputs[name], f"{name} is {tensor.dtype}"
        assert tensor.device == self.device, f"{name} is on {tensor.device}"
        shape = tuple(tensor.shape)
        least, _, most = (tuple(s) for s in self._engine.get_tensor_profile_shape(name, 0))
        fits = len(shape) == len(least) and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )
        if not fits or not self._context.set_input_shape(name, shape):
            problem = f"{name} has shape {shape}; the plan takes {least} to {most}"
            raise StageFailed(self.name, problem)
        self._context.set_tensor_address(name, tensor.data_ptr())


def plan_filter(
    sources: Sources, part: str, name: str, dtype: torch.dtype, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """A vocoder between its Fourier transforms, (mel, spectrum) -> bins; as `plan_solver`."""
    plan = open_plan(sources, part, name, dtype, device)
    return lambda mel, spectrum: plan({"mel": mel, "spectrum": spectrum})["bins"]


def plan_solver(
    sources: Sources,
    part: str,
    name: str,
    euler: EulerSolver,
    dtype: torch.dtype,
    device: torch.device,
    *,
    placed: Placed = _nothing,
) -> "PlanSolver":
    """A flow's solver on the plan of its estimator; `euler` itself stays in float32.

    part, name: of the graph, whose inputs and outputs are those of `PlanSolver`, as is `placed`.
    Errors as for `open_plan`.
    """
    plan = open_plan(sources, part, name, dtype, device)
    return PlanSolver(
        plan,
        euler,
        device=device,
        cache_dtype=plan.inputs["cache"],
        most_frames=sources.profiles.past_frames.most,
        placed=placed,
    )


@dataclass(frozen=True)
class StepState:
    """What a stream carries of one ODE step.

    tails: (GUIDED_ROWS, tail_frames, sum of tail_channels), of all convolutions side by side.
    cache: (attention_layers, 2, GUIDED_ROWS, heads, room, head_dim) keys and values, of which the
    first `frames` are written; the others are finite.
    """

    tails: Tensor
    cache: Tensor
    frames: int


@dataclass(frozen=True)
class PlanState:
    """`StreamState` of the PlanSolver; caches are written in place."""

    steps: tuple[StepState, ...]

    @property
    def nbytes(self) -> int:
        return sum(step.cache.nbytes for step in self.steps)

    def fork(self) -> "PlanState":
        """A copy: a plan reads a stream's keys and values from one piece of memory."""
        return PlanState(tuple(replace(step, cache=step.cache.clone()) for step in self.steps))


class PlanSolver:
    """`Solver` whose estimator is a plan; one stream after the other, all of its past visible.

    run: the plan of one step of the estimator, named tensors in and out on `device`. In: x (rows,
    n, inputs), shifts (stages, channels) of the ODE time, tails and cache as in `StepState`, and
    visible (rows, room + n) boolean. Out: velocity (rows, n, mel), next_tails, and new_frames, what
    the cache is to hold of these n frames. euler: of the same flow, for its times and time shifts
    in float32. most_frames: that the plan takes as its cache. placed: where the estimator knows the
    positions of its frames, what the plan takes of them beside the above.
    """

    def __init__(
        self,
        run: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        euler: EulerSolver,
        *,
        device: torch.device,
        cache_dtype: torch.dtype,
        most_frames: int,
        placed: Placed = _nothing,
    ) -> None:
        estimator = euler.estimator
        self._run, self._euler, self._most_frames = run, euler, most_frames
        self._placed = placed
        self._chunk = estimator.chunk_frames
        room = 2 * self._chunk
        self._no_cache = partial(
            torch.zeros,
            (estimator.attention_layers, 2, GUIDED_ROWS, estimator.heads, room, estimator.head_dim),
            device=device,
            dtype=cache_dtype,
        )
        tails = (GUIDED_ROWS, estimator.tail_frames, sum(estimator.tail_channels))
        self._tails = torch.zeros(tails, device=device)
        self._shifts = [torch.cat(shifts)[:, 0].to(device) for shifts in euler.time_shifts]

    def start(self) -> PlanState:
        """Caches with room for two chunks."""
        return PlanState(tuple(StepState(self._tails, self._no_cache(), 0) for _ in self._shifts))

    def extend(self, state: StreamState) -> PlanState:
        """Double the caches where the next chunk does not fit.

        Raises Overloaded when they are as long as the plan takes.
        """
        assert isinstance(state, PlanState)
        first = state.steps[0]
        room = first.cache.shape[4]
        if first.frames + self._chunk <= room:
            return state
        if first.frames + self._chunk > self._most_frames:
            raise Overloaded(
                f"a stream of {first.frames} mel frames goes on; the estimator's plan takes "
                f"{self._most_frames}"
            )
        more = (0, 0, 0, min(2 * room, self._most_frames) - room)
        pad = torch.nn.functional.pad
        return PlanState(tuple(replace(s, cache=pad(s.cache, more)) for s in state.steps))

    def chunks_at_once(self, state: StreamState) -> int:
        return 1

    def solve(self, chunks: Sequence[ChunkInput]) -> list[tuple[Tensor, StreamState]]:
        return [self._solve_one(chunk) for chunk in chunks]

    def _solve_one(self, chunk: ChunkInput) -> tuple[Tensor, StreamState]:
        assert isinstance(chunk.state, PlanState)
        given = without_too(chunk.conditions).float()
        path = Trajectory(chunk.noise[None].to(given))
        first = chunk.state.steps[0].frames
        positions = torch.arange(first, first + given.shape[1], device=given.device)
        placed = self._placed(positions.expand(GUIDED_ROWS, -1))
        after = []
        for step, shifts, before in zip(
            self._euler.steps, self._shifts, chunk.state.steps, strict=True
        ):
            # a plan takes both rows, also where the step is not guided
            rows = torch.cat([path.x.expand(GUIDED_ROWS, -1, -1), given], dim=2)
            velocity, state = self._step({"x": rows, "shifts": shifts, **placed}, before)
            after.append(state)
            path.go(step, guide(velocity, step.rate))
        return path.x[0], PlanState(tuple(after))

    def _step(self, inputs: dict[str, Tensor], step: StepState) -> tuple[Tensor, StepState]:
        x = inputs["x"]
        rows, new = x.shape[:2]
        room, end = step.cache.shape[4], step.frames + new
        visible = torch.ones(rows, room + new, dtype=torch.bool, device=x.device)
        visible[:, step.frames : room] = False
        outputs = self._run(
            {**inputs, "tails": step.tails, "cache": step.cache, "visible": visible}
        )
        step.cache[..., step.frames : end, :] = outputs["new_frames"]
        return outputs["velocity"], StepState(outputs["next_tails"], step.cache, end)

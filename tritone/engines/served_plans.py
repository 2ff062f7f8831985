"""The plans of this machine in the place of a family's torch modules."""

from collections.abc import Callable

import torch
from torch import Tensor

from tritone.acoustic.solver import EulerSolver
from tritone.engines.machine import this_machine
from tritone.engines.plan import Plan
from tritone.engines.plan_solver import PlanSolver
from tritone.engines.plans import open_plan
from tritone.engines.sources import Sources

_NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}


def plan_solver(
    sources: Sources,
    part: str,
    name: str,
    euler: EulerSolver,
    dtype: torch.dtype,
    device: torch.device,
) -> PlanSolver:
    """A flow's solver on the plan of its estimator; `euler` itself stays in float32.

    part, name: of the graph, whose inputs and outputs are those of `PlanSolver`. dtype: in which
    the plan was built. Raises ModelDirectoryError for a plan that is missing, refused, or of
    another machine or other weights, and EnvironmentProblem without TensorRT.
    """
    plan = _open(sources, part, name, dtype, device)
    return PlanSolver(
        BesideStream(plan),
        euler,
        device=device,
        cache_dtype=plan.inputs["cache"],
        most_frames=sources.profiles.past_frames.most,
    )


def plan_filter(
    sources: Sources, part: str, name: str, dtype: torch.dtype, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """A vocoder between its Fourier transforms, (mel, spectrum) -> bins; as `plan_solver`."""
    run = BesideStream(_open(sources, part, name, dtype, device))
    return lambda mel, spectrum: run({"mel": mel, "spectrum": spectrum})["bins"]


class BesideStream:
    """A plan on a stream of its own, since TensorRT synchronises on the default one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        on_gpu = plan.device.type == "cuda"
        self._stream = torch.cuda.Stream(plan.device) if on_gpu else None  # type: ignore[no-untyped-call]

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._stream is None:
            return self._plan(inputs)
        caller = torch.cuda.current_stream(self._plan.device)
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            outputs = self._plan(inputs)
        caller.wait_stream(self._stream)
        for tensor in inputs.values():  # memory is given to another only after both are done
            tensor.record_stream(self._stream)
        for tensor in outputs.values():
            tensor.record_stream(caller)
        return outputs


def _open(sources: Sources, part: str, name: str, dtype: torch.dtype, device: torch.device) -> Plan:
    return open_plan(sources, part, name, this_machine(), _NAMES[dtype], device)

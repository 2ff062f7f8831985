"""The plans of a machine, and the tasks that build and judge them."""

import time
from pathlib import Path

import onnx
import torch
from torch import Tensor

from tritone.engines.acceptance import BOUNDS, Verdict, judge_graph
from tritone.engines.builder import build_plan
from tritone.engines.exports import ONNX_DIR, onnx_path, read_exports
from tritone.engines.graph import Graph
from tritone.engines.machine import Machine
from tritone.engines.plan import Plan
from tritone.engines.precision import to_half
from tritone.engines.record import (
    EngineRecord,
    PartRecord,
    check_part,
    open_record,
    plan_path,
    profile_text,
    settings_digest,
)
from tritone.engines.sources import Sources
from tritone.engines.tasks import Task
from tritone.errors import EnvironmentProblem, StageFailed

TIMING_CACHE = "tensorrt.cache"
FLOAT32 = "float32"


def precision_of(graph: Graph, dtype: str) -> str:
    """In what the products of a graph are computed when `dtype` was asked for."""
    return dtype if graph.half else FLOAT32


def open_plan(
    sources: Sources, part: str, name: str, machine: Machine, dtype: str, device: torch.device
) -> Plan:
    """Load a plan that was built for this machine, from these weights, and was accepted.

    Raises ModelDirectoryError that names what differs otherwise, and EnvironmentProblem without
    TensorRT.
    """
    folder = check_part(sources.model_dir, name, machine, dtype, sources.digest(part))
    return Plan(plan_path(folder, name), device)


class PlanBuild:
    """Builds the plans of one machine and precision into one directory."""

    def __init__(self, sources: Sources, folder: Path, machine: Machine | None, dtype: str) -> None:
        """machine: None where only the tasks' descriptions are wanted."""
        self._sources, self._folder, self._machine = sources, folder, machine
        self._dtype = dtype

    def task(self, part: str, outline: Graph) -> Task:
        name, precision = outline.name, precision_of(outline, self._dtype)
        path = plan_path(self._folder, name)
        return Task(
            name=f"plan {name}",
            needs=(f"export {name}",),
            plan=(
                f"{ONNX_DIR}/{name}.onnx, products in {precision} -> {path}",
                f"refused for NaN, silence, or an error above {BOUNDS[precision]:g} of the RMS",
                *profile_text(outline.profile()),
            ),
            done=lambda: self._is_built(part, outline),
            run=lambda: self._build(part, self._sources.graph(part, name)),
        )

    def _is_built(self, part: str, outline: Graph) -> bool:
        entry = self._record().parts.get(outline.name)
        path = plan_path(self._folder, outline.name)
        return (
            entry is not None
            and entry.gate is not None
            and entry.gate.passed
            and entry.settings == self._settings(outline)
            and entry.source == self._sources.digest(part)
            and path.is_file()
            and path.stat().st_size == entry.nbytes
        )

    def _build(self, part: str, graph: Graph) -> str:
        begin = time.monotonic()
        precision = precision_of(graph, self._dtype)
        model = onnx.load(onnx_path(self._sources.model_dir, graph.name))
        if graph.half:
            model = to_half(model, precision, graph.caches)
        self._folder.mkdir(parents=True, exist_ok=True)
        data = build_plan(graph.name, model, graph.profile(), self._folder / TIMING_CACHE)
        path = plan_path(self._folder, graph.name)
        candidate = path.with_suffix(".candidate.plan")
        candidate.write_bytes(data)
        verdict = judge_plan(graph, Plan(candidate, torch.device("cuda", 0)), precision)
        if verdict.passed:
            candidate.replace(path)
        else:
            candidate.unlink()
            path.unlink(missing_ok=True)  # of an earlier build, which this one's record replaces
        entry = PartRecord(
            source=self._sources.digest(part),
            settings=self._settings(graph),
            nbytes=len(data),
            seconds=round(time.monotonic() - begin, 1),
            gate=verdict,
        )
        self._record().with_part(graph.name, entry).write(self._folder)
        if not verdict.passed:
            raise StageFailed(graph.name, f"its plan was refused: {verdict.problem}")
        return f"{len(data) / 1e6:.1f} MB, {verdict.error:.2g} from torch in float32"

    def _settings(self, graph: Graph) -> str:
        """Of the build: what is exported, in which precision, for which lengths."""
        exported = read_exports(self._sources.model_dir).graphs.get(graph.name)
        return settings_digest(
            onnx=None if exported is None else exported.sha256,
            precision=precision_of(graph, self._dtype),
            profile=graph.profile(),
        )

    def _record(self) -> EngineRecord:
        assert self._machine is not None, "a build needs its machine"
        return open_record(self._folder, self._machine, self._dtype)


def judge_plan(graph: Graph, plan: Plan, precision: str) -> Verdict:
    """Judge a plan on its GPU; raises EnvironmentProblem if its memory is full."""
    stream = torch.cuda.Stream(plan.device)  # type: ignore[no-untyped-call]

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.cuda.stream(stream):
            given = {name: x.to(plan.device, plan.inputs[name]) for name, x in inputs.items()}
            outputs = plan(given)
        stream.synchronize()
        return outputs

    try:
        return judge_graph(graph, run, precision)
    except torch.OutOfMemoryError as error:
        raise EnvironmentProblem(f"{graph.name}: no GPU memory to judge it: {error}") from error

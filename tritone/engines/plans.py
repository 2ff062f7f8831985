"""Building a TensorRT plan from an exported graph, and judging it."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import torch
from torch import Tensor
from tqdm import tqdm

from tritone.engines.acceptance import BOUNDS, judge_graph
from tritone.engines.export import ONNX_DIR, onnx_path, read_exports
from tritone.engines.machine import import_tensorrt
from tritone.engines.plan import Plan
from tritone.engines.precision import to_half
from tritone.engines.record import Verdict, plan_path, settings_digest
from tritone.engines.sources import Graph, Profile
from tritone.engines.tasks import EngineBuild, Task
from tritone.errors import EnvironmentProblem, StageFailed

TIMING_CACHE = "tensorrt.cache"
WORKSPACE_BYTES = 4 << 30  # of scratch memory that a kernel may take

_log = logging.getLogger(__name__)


class PlanBuild(EngineBuild):
    """Builds the plans of one machine and precision into one directory."""

    def task(self, part: str, outline: Graph) -> Task:
        name, precision = outline.name, self._precision(outline)
        path = plan_path(self._folder, name)

        def done() -> bool:
            entry = self._accepted(name, part, self._settings(outline))
            return entry is not None and path.is_file() and path.stat().st_size == entry.nbytes

        return Task(
            name=f"plan {name}",
            needs=(f"export {name}",),
            plan=(
                f"{ONNX_DIR}/{name}.onnx, products in {precision} -> {path}",
                f"refused for NaN, silence, or an error above {BOUNDS[precision]:g} of the RMS",
                *_profile_lines(outline.profile()),
            ),
            done=done,
            run=lambda: self._build(part, self._sources.graph(part, name)),
        )

    def _build(self, part: str, graph: Graph) -> str:
        begin = time.monotonic()
        precision = self._precision(graph)
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
        self._keep(graph.name, part, self._settings(graph), len(data), begin, verdict)
        if not verdict.passed:
            raise StageFailed(graph.name, f"its plan was refused: {verdict.problem}")
        return f"{len(data) / 1e6:.1f} MB, {verdict.error:.2g} from torch in float32"

    def _precision(self, graph: Graph) -> str:
        """In which the products of a graph are computed."""
        return self._dtype if graph.half else "float32"

    def _settings(self, graph: Graph) -> str:
        """Of the build: what is exported, in which precision, for which lengths."""
        exported = read_exports(self._sources.model_dir).graphs.get(graph.name)
        return settings_digest(
            onnx=None if exported is None else exported.sha256,
            precision=self._precision(graph),
            profile=graph.profile(),
        )


def _profile_lines(profile: Profile) -> list[str]:
    """Of each input: its name, least, usual and most shape."""
    width = max(map(len, profile))
    return [
        f"{name:<{width}}  " + "  ".join("x".join(map(str, shape)) for shape in shapes)
        for name, shapes in profile.items()
    ]


def judge_plan(graph: Graph, plan: Plan, precision: str) -> Verdict:
    """Judge a plan on its GPU; raises EnvironmentProblem if its memory is full."""

    def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return plan({name: x.to(plan.device, plan.inputs[name]) for name, x in inputs.items()})

    try:
        return judge_graph(graph, run, precision)
    except torch.OutOfMemoryError as error:
        raise EnvironmentProblem(f"{graph.name}: no GPU memory to judge it: {error}") from error


def build_plan(name: str, model: onnx.ModelProto, profile: Profile, timing_cache: Path) -> bytes:
    """Build the plan of a graph whose types are all said (`to_half`, or float32).

    The network is strongly typed: TensorRT computes in the types of the graph and chooses none, and
    TF32, which it would take for float32, is off. profile: least, usual and most of every input's
    shape. timing_cache: kernels' timings, read if there and written, for this GPU and version.

    Raises EnvironmentProblem without TensorRT, StageFailed with its messages if it does not build.
    """
    trt = import_tensorrt()
    messages: list[str] = []
    logger = _logger(trt, messages)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.SerializeToString()):
        errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
        raise StageFailed(name, f"TensorRT does not take the graph: {'; '.join(errors)}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    shapes = builder.create_optimization_profile()
    for tensor, (least, usual, most) in profile.items():
        shapes.set_shape(tensor, least, usual, most)
    config.add_optimization_profile(shapes)
    known = timing_cache.read_bytes() if timing_cache.is_file() else b""
    config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    with ExitStack() as bars:
        config.progress_monitor = _progress(trt, name, bars)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise StageFailed(name, f"TensorRT built nothing: {'; '.join(messages) or 'no message'}")
    timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _logger(trt: ModuleType, errors: list[str]) -> Any:
    """TensorRT's messages as log records; those of errors are kept too."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.CRITICAL,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.INFO,
        severity.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def log(self, severity: Any, message: str) -> None:
            _log.log(levels[severity], "%s", message)
            if levels[severity] >= logging.ERROR:
                errors.append(message)

    return Logger()


def _progress(trt: ModuleType, name: str, opened: ExitStack) -> Any:
    """A progress monitor that shows the outermost phase of a build as a bar."""
    bars: dict[str, tqdm[Any]] = {}

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                bar = tqdm(total=num_steps, desc=f"{name}: {phase_name}")
                bars[phase_name] = opened.enter_context(bar)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in bars:
                bars[phase_name].update()
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in bars:
                bars.pop(phase_name).close()

    return Monitor()

"""Building a TensorRT plan from an exported graph."""

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
from tqdm import tqdm

from tritone.engines.graph import Profile
from tritone.engines.machine import import_tensorrt
from tritone.errors import StageFailed

WORKSPACE_BYTES = 4 << 30  # of scratch memory that a kernel may take

_log = logging.getLogger(__name__)


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
    with _progress(trt, name) as monitor:
        config.progress_monitor = monitor
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
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            _log.log(levels[severity], "%s", message)
            if levels[severity] >= logging.ERROR:
                errors.append(message)

    return Logger()


def _progress(trt: ModuleType, name: str) -> Any:
    """A progress monitor that shows the outermost phase of a build as a bar."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._bars: dict[str, tqdm[Any]] = {}

        def __enter__(self) -> "Monitor":
            return self

        def __exit__(self, *error: object) -> None:
            for bar in self._bars.values():
                bar.close()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._bars[phase_name] = tqdm(total=num_steps, desc=f"{name}: {phase_name}")

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._bars:
                self._bars[phase_name].update()
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self._bars:
                self._bars.pop(phase_name).close()

    return Monitor()

"""ONNX exports of a model directory, each checked against torch before its file appears."""

import hashlib
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from tritone.checkpoints.atomic_write import write_json
from tritone.config import Strict
from tritone.engines.record import settings_digest
from tritone.engines.sources import VERSION, Graph, Sources
from tritone.engines.tasks import Task
from tritone.errors import StageFailed

ONNX_DIR = "onnx"
RECORD = "exports.json"
OPSET = 18
SETTINGS = settings_digest(opset=OPSET, version=VERSION)
TOLERANCE = 1e-4
SEED = 0


class Export(Strict):
    """One exported graph.

    source: digest of the weights and numbers. settings: digest of how it was exported. nbytes and
    sha256: of the file. difference: from torch, see `export`. torch: its version.
    """

    source: str
    settings: str
    nbytes: int
    sha256: str
    seconds: float
    difference: float
    torch: str


class ExportsRecord(Strict):
    """The content of onnx/exports.json."""

    format: Literal[1] = 1
    graphs: Mapping[str, Export] = {}


def onnx_path(model_dir: Path, name: str) -> Path:
    return model_dir / ONNX_DIR / f"{name}.onnx"


def read_exports(model_dir: Path) -> ExportsRecord:
    """What was exported; nothing where the record is missing or of another format."""
    path = model_dir / ONNX_DIR / RECORD
    try:
        return ExportsRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ExportsRecord()


def export_task(sources: Sources, part: str, outline: Graph) -> Task:
    """Export one graph of a part and check it."""
    name = outline.name
    path = onnx_path(sources.model_dir, name)
    lengths = (", ".join(f"{a} {size}" for a, size in sizes.items()) for sizes in outline.examples)

    def done() -> bool:
        """Whether the export is there and of the weights, numbers and code of now."""
        entry = read_exports(sources.model_dir).graphs.get(name)
        return (
            entry is not None
            and path.is_file()
            and path.stat().st_size == entry.nbytes
            and entry.settings == SETTINGS
            and entry.source == sources.digest(part)
        )

    return Task(
        name=f"export {name}",
        needs=(),
        plan=(
            f"torch.onnx.export, opset {OPSET} -> {path}",
            f"checked in ONNX Runtime at {' and '.join(lengths)}: at most {TOLERANCE:g} of the RMS",
        ),
        done=done,
        run=lambda: _export_and_record(sources, part, name),
    )


def _export_and_record(sources: Sources, part: str, name: str) -> str:
    begin, path = time.monotonic(), onnx_path(sources.model_dir, name)
    difference = export(sources.graph(part, name), path)
    entry = Export(
        source=sources.digest(part),
        settings=SETTINGS,
        nbytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        seconds=round(time.monotonic() - begin, 1),
        difference=difference,
        torch=torch.__version__,
    )
    record = ExportsRecord(graphs={**read_exports(sources.model_dir).graphs, name: entry})
    write_json(path.with_name(RECORD), record.model_dump(mode="json"))
    return f"{entry.nbytes / 1e6:.1f} MB, {difference:.1e} from torch"


def export(graph: Graph, path: Path) -> float:
    """Write `graph` to `path`, whole or not at all, and return its difference from torch.

    The difference is the largest of any output value, as a share of the output's RMS, at both of
    the graph's example lengths in ONNX Runtime. Raises StageFailed, and leaves no file, if it is
    above TOLERANCE or not a number.
    """
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _trace(graph, partial)
        onnx.checker.check_model(str(partial))
        difference = _difference(graph, partial)
        if not difference <= TOLERANCE:
            raise StageFailed(
                graph.name,
                f"its export differs from torch by {difference:.2g} of an output's RMS; the limit "
                f"is {TOLERANCE:g}",
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return difference


@torch.no_grad()
def _trace(graph: Graph, path: Path) -> None:
    """Write the graph with torch's exporter by tracing.

    It takes a second where the one by torch.export takes a minute, and is the same in the torch of
    NVIDIA's container, 2.7, and in the newest; the graphs hold no control flow that it would miss.
    """
    inputs = graph.sample(graph.examples[0], SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself, of traced lengths
        torch.onnx.export(
            graph.module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.dynamic_axes(),
            opset_version=OPSET,
            dynamo=False,
        )


def _difference(graph: Graph, path: Path) -> float:
    session, errors = session_of(path), []
    for sizes in graph.examples:
        inputs = graph.sample(sizes, SEED)
        outputs = run(session, inputs)
        for name, expected in reference(graph, inputs).items():
            error = (outputs[name] - expected).abs().max() / expected.square().mean().sqrt()
            errors.append(float(error))
    return float(np.max(errors))  # NaN if one is


@torch.no_grad()
def reference(graph: Graph, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """What torch gives, by output name."""
    outputs = graph.module(**inputs)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    return dict(zip(graph.outputs, outputs, strict=True))


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs of a session by name."""
    arrays = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    names = [output.name for output in session.get_outputs()]
    return {name: torch.from_numpy(array) for name, array in zip(names, arrays, strict=True)}

"""ONNX exports of a graph, each checked against torch before the file appears."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from tritone.engines.graph import Graph
from tritone.errors import StageFailed

OPSET = 18
TOLERANCE = 1e-4
SEED = 0


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
        difference = compare(graph, partial)
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


@torch.no_grad()
def compare(graph: Graph, path: Path) -> float:
    """The difference of an ONNX file from torch as in `export`; NaN if a value is not finite."""
    session = session_of(path)
    worst = 0.0
    for sizes in graph.examples:
        inputs = graph.sample(sizes, SEED)
        outputs = run(session, inputs)
        for name, expected in reference(graph, inputs).items():
            error = (outputs[name] - expected).abs().max() / expected.square().mean().sqrt()
            worst = max(worst, float(error)) if bool(error.isfinite()) else float("nan")
            if np.isnan(worst):
                return worst
    return worst


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

"""Exports of a model of each family, made once a test run, and ONNX Runtime in a plan's place."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from cosyvoice3_release import cosyvoice3_release
from onnx import TensorProto, helper
from paths import EMBEDDED
from torch import Tensor

from tritone.arrays import Int32
from tritone.checkpoints.conversion import ConvertOptions
from tritone.engines.build import build_tasks
from tritone.engines.export import onnx_path, run, session_of
from tritone.engines.machine import Machine
from tritone.engines.precision import PRODUCTS
from tritone.engines.sources import Sources
from tritone.engines.tasks import Task, run_tasks
from tritone.families import open_model
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice3.convert import Conversion
from tritone.families.cosyvoice3.released_files import LAYOUT

Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]

ESTIMATORS = dict.fromkeys(("estimator_step", "estimator", "estimator_masked"), "flow")
GRAPHS = {  # of each family, and the part that each belongs to
    "cosyvoice2": {
        "flow_encoder": "flow",
        **ESTIMATORS,
        "f0_predictor": "vocoder",
        "vocoder": "vocoder",
    },
    "cosyvoice3": {**ESTIMATORS, "vocoder_opening": "vocoder", "vocoder": "vocoder"},
}


def sources_of(model_dir: Path) -> Sources:
    model = open_model(model_dir)
    graphs = model.family.graph_source(model_dir, model.config)
    assert graphs is not None
    return Sources(model_dir, model.language_model, graphs)


def tasks_of(sources: Sources, parts: Collection[str], dtype: str, *machine: Machine) -> list[Task]:
    """Tasks of a build on a machine, or of the exports alone."""
    llm = sources.config.llm
    assert isinstance(llm, SpeechIds)

    def example_prompt(text: Int32) -> Int32:
        return np.array([llm.sos_id, *text, llm.task_id], np.int32)

    return build_tasks(
        sources,
        tuple(parts),
        dtype,
        machine[0] if machine else None,
        export_only=not machine,
        example_prompt=example_prompt,
    )


def model_directory(folder: Path) -> Path:
    """A model directory with the embedded voice's flow and vocoder and nothing built."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "flow.safetensors", "vocoder.safetensors"):
        shutil.copy(EMBEDDED / name, folder / name)
    return folder


def tiny_cosyvoice3(folder: Path) -> Path:
    """The model directory of a tiny release, its language model without a graph."""
    release = cosyvoice3_release(folder.with_name("release"))
    source, options = open_source(release, None, LAYOUT), ConvertOptions(graphs=())
    Conversion(source, folder, options).run()
    return folder


MODELS = {"cosyvoice2": model_directory, "cosyvoice3": tiny_cosyvoice3}


def exported(family: str = "cosyvoice2") -> Sources:
    """A model with all its exports, not to be changed: the embedded voice, or the tiny one."""
    return _exported(family)


@cache
def _exported(family: str) -> Sources:
    folder = Path(tempfile.mkdtemp(prefix="exports"))
    atexit.register(shutil.rmtree, folder)
    sources = sources_of(MODELS[family](folder / "model"))
    tasks = tasks_of(sources, ("flow", "vocoder"), "bfloat16")
    for outcome in run_tasks(tasks, force=False):
        assert outcome.state == "built", outcome
    return sources


def export_of(name: str, family: str = "cosyvoice2") -> Path:
    return onnx_path(exported(family).model_dir, name)


def runner(path: Path) -> Run:
    """An exported file as a function of named tensors."""
    session = session_of(path)
    return lambda inputs: run(session, inputs)


def runner_of_half(model: onnx.ModelProto, caches: Collection[str]) -> Run:
    """A half-precision graph as a function of float32 tensors.

    Products multiply rounded values in float32, as tensor cores do, since ONNX Runtime has no
    bfloat16 products on a CPU; casts are not optimised away.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _widened(model, caches).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: run(session, inputs)


def _widened(model: onnx.ModelProto, caches: Collection[str]) -> onnx.ModelProto:
    """The graph with its half values kept in float32, rounded wherever they were half."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    graph = wide.graph
    half = next(t.data_type for t in graph.initializer if t.data_type not in (1, 6, 7, 9))
    nodes: list[onnx.NodeProto] = []

    def rounded(source: str, target: str) -> None:
        nodes.append(helper.make_node("Cast", [source], [f"{target}_narrow"], to=half))
        wide_again = helper.make_node("Cast", [f"{target}_narrow"], [target], to=TensorProto.FLOAT)
        nodes.append(wide_again)

    for value in [*graph.input, *graph.output]:
        if value.name in caches:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for tensor in [t for t in graph.initializer if t.data_type == half]:
        nodes.append(
            helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT)
        )
        tensor.name += "_half"
    inputs = {value.name for value in graph.input} & set(caches)
    for name in inputs:
        rounded(name, f"{name}_rounded")
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in inputs:
                node.input[index] = f"{name}_rounded"
        if node.op_type == "Cast" and node.attribute[0].i == half:
            rounded(node.input[0], node.output[0])
        elif node.op_type in PRODUCTS:
            target = node.output[0]
            node.output[0] = f"{target}_wide"
            nodes.append(node)
            rounded(f"{target}_wide", target)
        else:
            nodes.append(node)
    widened = helper.make_graph(nodes, "widened", graph.input, graph.output, graph.initializer)
    result = helper.make_model(widened, opset_imports=wide.opset_import)
    result.ir_version = wide.ir_version
    return result


def inputs_of(name: str, part: str = "flow", example: int = 0) -> dict[str, Tensor]:
    graph = exported().graph(part, name)
    return graph.sample(graph.examples[example], seed=1)


def rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())


def largest_difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) / rms(b)


torch.set_num_threads(1)

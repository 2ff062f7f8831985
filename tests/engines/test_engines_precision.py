"""The half-precision form of exported graphs: what is half, what is not, and how far it is off."""

import numpy as np
import onnx
import pytest
import torch
from engine_models import GRAPHS, export_of, exported, inputs_of, rms, runner, runner_of_half
from onnx import TensorProto, helper, numpy_helper

from tritone.engines.acceptance import BOUNDS, judge, judge_graph
from tritone.engines.export import reference
from tritone.engines.precision import MOVES, PRODUCTS, TYPES, to_half
from tritone.engines.sources import Graph
from tritone.errors import ModelDirectoryError

pytestmark = pytest.mark.slow

HALVES = sorted(TYPES)
ALL = [
    (family, name) for family, names in GRAPHS.items() for name in names if name != "f0_predictor"
]
FLOW = [(family, name) for family, name in ALL if GRAPHS[family][name] == "flow"]


def graph_of(name: str, family: str) -> Graph:
    return exported(family).graph(GRAPHS[family][name], name)


def half_of(name: str, dtype: str, family: str = "cosyvoice2") -> onnx.ModelProto:
    model = onnx.load(export_of(name, family))
    return to_half(model, dtype, graph_of(name, family).caches)


def types_in(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("family", "name"), FLOW)
def test_products_are_half_and_what_overflows_is_not(family: str, name: str, dtype: str) -> None:
    model = half_of(name, dtype, family)
    types, seen = types_in(model), set()
    for node in model.graph.node:
        given = {types[i] for i in node.input if types.get(i) in (TensorProto.FLOAT, TYPES[dtype])}
        made = types[node.output[0]]
        seen.add(node.op_type)
        if node.op_type in PRODUCTS:
            assert given == {TYPES[dtype]} and made == TYPES[dtype], node.name
        elif node.op_type not in MOVES and node.op_type != "Cast":
            assert TYPES[dtype] not in given | {made}, f"{node.op_type} {node.name}"
    assert {"MatMul", "LayerNormalization", "Softmax", "Add"} <= seen


@pytest.mark.parametrize(("family", "name"), ALL)
def test_only_caches_change_their_type(family: str, name: str) -> None:
    before = onnx.load(export_of(name, family)).graph
    after = half_of(name, "bfloat16", family).graph
    caches = graph_of(name, family).caches
    for old, new in zip(
        [*before.input, *before.output], [*after.input, *after.output], strict=True
    ):
        kind = old.type.tensor_type.elem_type
        assert new.name == old.name
        expected = TYPES["bfloat16"] if old.name in caches else kind
        assert new.type.tensor_type.elem_type == expected, old.name
        if old in before.input:  # of outputs, more lengths may be known now
            assert new.type.tensor_type.shape == old.type.tensor_type.shape


def test_weights_of_products_are_stored_in_half() -> None:
    full = sum(t.ByteSize() for t in onnx.load(export_of("estimator")).graph.initializer)
    half = sum(t.ByteSize() for t in half_of("estimator", "float16").graph.initializer)
    assert half < 0.55 * full


@pytest.mark.parametrize("family", GRAPHS)
def test_cached_keys_are_never_widened(family: str) -> None:
    """Concatenation of cached and new keys, and the way to both products, stay in half."""
    model = half_of("estimator_step", "float16", family)
    types = types_in(model)
    wide = [
        node.name
        for node in model.graph.node
        if node.op_type == "Concat" and "cache" in " ".join(node.input)
        if types[node.output[0]] != TensorProto.FLOAT16
    ]
    assert not wide
    readers = [node.op_type for node in model.graph.node if "cache" in node.input]
    assert readers and "Cast" not in readers


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("family", "name"), ALL)
def test_half_precision_is_accepted(family: str, name: str, dtype: str) -> None:
    graph, half = graph_of(name, family), half_of(name, dtype, family)
    verdict = judge_graph(graph, runner_of_half(half, graph.caches), dtype)
    assert verdict.passed, verdict
    assert 1e-5 < verdict.error < BOUNDS[dtype] / 2  # it is half precision, with room to the limit


def test_a_residual_stream_beyond_float16_squared_does_not_overflow() -> None:
    """256 squared is infinite in float16: what the variance in a LayerNorm ran into upstream."""
    graph = exported().graph("flow", "estimator")
    inputs = inputs_of("estimator")
    inputs["shifts"] = 2000.0 * inputs["shifts"] / inputs["shifts"].abs().max()
    expected = reference(graph, inputs)
    for dtype in HALVES:
        outputs = runner_of_half(half_of("estimator", dtype), ())(inputs)
        verdict = judge(outputs, expected, BOUNDS[dtype])
        assert verdict.passed, verdict


def test_a_half_graph_runs_as_it_is() -> None:
    """Without emulation: ONNX Runtime takes the graph's types and gives cached values in half."""
    graph = exported().graph("flow", "estimator_step")
    inputs = inputs_of("estimator_step")
    model = half_of("estimator_step", "float16")
    path = export_of("estimator_step").with_name("half.onnx")
    onnx.save_model(model, path)
    outputs = runner(path)({**inputs, "cache": inputs["cache"].half()})
    path.unlink()
    assert outputs["new_frames"].dtype == torch.float16
    expected = reference(graph, inputs)
    assert rms(outputs["velocity"] - expected["velocity"]) < 0.02 * rms(expected["velocity"])


def test_a_weight_that_float16_cannot_hold_is_named() -> None:
    weight = numpy_helper.from_array(np.array([[1e5]], np.float32), "too_large")
    shape = [1, 1]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "too_large"], ["y"])],
        "one product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ModelDirectoryError, match=r"too_large has values up to 1e\+05"):
        to_half(model, "float16", ())
    assert len(to_half(model, "bfloat16", ()).graph.node) == 3

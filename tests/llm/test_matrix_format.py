"""How weights are rounded, and what the operators make of them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from llm_model import build_tiny
from onnx import TensorProto, helper

from tritone.errors import EnvironmentProblem
from tritone.llm.onnx.graph import Qwen2Graph
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.graph_writer import MICROSOFT, graph_writer
from tritone.llm.onnx.instructions import check_instructions
from tritone.llm.onnx.matrix_format import BlockFormat, quantize_blocks, quantize_rows
from tritone.llm.onnx.precision import PRECISIONS

FORMATS = [BlockFormat(8, 128), BlockFormat(4, 32), BlockFormat(4, 128)]


def dequantize(
    quantized: tuple[np.ndarray, np.ndarray], form: BlockFormat, columns: int
) -> np.ndarray:
    codes, scales = quantized
    if form.bits == 4:
        codes = np.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:2], -1)
    values = (codes.astype(np.float32) - 2 ** (form.bits - 1)) * scales[..., None]
    return values.reshape(len(values), -1)[:, :columns]


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("columns", [24, 64, 300])
def test_quantised_weights_are_the_nearest_codes(form: BlockFormat, columns: int) -> None:
    weight = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    weight[2] = 0
    quantized = quantize_blocks(weight, form)
    error = np.abs(dequantize(quantized, form, columns) - weight)
    # half a step; a whole one where the far positive end has no code of its own
    step = np.repeat(np.abs(quantized[1]), form.block_size, 1)[:, :columns]
    assert (error <= step * 1.001).all()
    assert (error <= step * 0.501).mean() > 0.95
    assert not dequantize(quantized, form, columns)[2].any()


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("columns", [24, 64, 300])
def test_operator_reads_the_quantised_weights(
    tmp_path: Path, form: BlockFormat, columns: int
) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((48, columns)).astype(np.float32)
    quantized = quantize_blocks(weight, form)
    with graph_writer(tmp_path / "m.onnx", {}) as writer:
        info = helper.make_tensor_value_info
        writer.inputs.append(info("x", TensorProto.FLOAT, ["n", columns]))
        writer.outputs.append(info("y", TensorProto.FLOAT, ["n", 48]))
        codes = writer.constant("codes", quantized[0])
        scales = writer.constant("scales", quantized[1])
        attributes = {"bits": form.bits, "block_size": form.block_size, "K": columns, "N": 48}
        writer.node("MatMulNBits", ["x", codes, scales], "y", domain=MICROSOFT, **attributes)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    x = rng.standard_normal((3, columns)).astype(np.float32)
    expected = x @ dequantize(quantized, form, columns).T
    assert np.abs(session.run(None, {"x": x})[0] - expected).max() < 1e-4


def test_codes_of_rows_are_the_nearest() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 300)).astype(np.float32)
    weight[2] = 0
    codes, scales = quantize_rows(weight)
    error = np.abs(codes * scales[:, None] - weight)
    assert (error <= scales[:, None] * 0.501).all()
    assert not codes[2].any()
    assert np.abs(codes).max(1).tolist() == [127, 127, 0, 127, 127]


def test_a_product_of_rows_is_exact_in_its_codes(tmp_path: Path) -> None:
    """Also with a row of zeros, and one that is a thousand times larger than its neighbours."""
    rng = np.random.default_rng(1)
    weight, x = (rng.standard_normal(s).astype(np.float32) for s in ((48, 300), (2, 3, 300)))
    bias = rng.standard_normal(48).astype(np.float32)
    x[0, 1], x[1, 0] = 0, 1000 * x[1, 0]
    with graph_writer(tmp_path / "m.onnx", {}) as writer:
        info = helper.make_tensor_value_info
        writer.inputs.append(info("x", TensorProto.FLOAT, ["batch", "n", 300]))
        writer.outputs.append(info("y", TensorProto.FLOAT, ["batch", "n", 48]))
        graph = Qwen2Graph(writer, None, None, PRECISIONS["int8_rows"])
        graph._linear("x", weight, bias, "y")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    codes, scales = quantize_rows(weight)
    largest = np.abs(x).max(-1, keepdims=True)
    steps = np.maximum(largest, 1e-30) / np.float32(127)
    expected = np.rint(x / steps) @ codes.T.astype(np.float64) * steps * scales + bias
    found = session.run(None, {"x": x})[0]
    assert (np.abs(found - expected) < 1e-5 + 1e-4 * largest).all()
    assert np.array_equal(found[0, 1], bias)


def test_mixed_precision_has_its_bits(tmp_path: Path) -> None:
    build_tiny(tmp_path, "int4_mixed")
    nodes = onnx.load(
        graph_path(tmp_path / "llm", "int4_mixed"), load_external_data=False
    ).graph.node
    bits: dict[int, set[str]] = {4: set(), 8: set()}
    for node in nodes:
        if node.op_type == "MatMulNBits":
            (found,) = (a.i for a in node.attribute if a.name == "bits")
            bits[found].add(node.name.split(".")[-1])
    assert bits == {4: {"gate", "up", "feed_forward"}, 8: {"qkv", "attention_out", "logits"}}


@pytest.mark.parametrize("flags", ["fma avx2 avx512f", ""])
def test_rows_are_refused_where_their_sums_would_be_cut_off(flags: str) -> None:
    described = f"model name : some\nflags\t\t: {flags}\n"
    check_instructions("int8", described)
    check_instructions("int8_rows", described.replace("flags\t\t: ", "flags\t\t: avx_vnni "))
    with pytest.raises(EnvironmentProblem, match=r"'int8_rows', which needs .* take int8"):
        check_instructions("int8_rows", described)


@pytest.mark.parametrize(("columns", "block"), [(896, 128), (192, 64), (4864, 128), (24, 32)])
def test_blocks_fill_the_input_channels(columns: int, block: int) -> None:
    assert BlockFormat(8, 128).fitting(columns) == BlockFormat(8, block)

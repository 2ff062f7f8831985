"""The graph of one step of a decoder over slots: inputs, outputs, and matrices in any precision."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from onnx import TensorProto, helper

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.llm.checkpoint import finite
from tritone.llm.config import DecoderSizes
from tritone.llm.head_padding import padded_head_dim
from tritone.llm.onnx.graph_writer import MICROSOFT, GraphWriter
from tritone.llm.onnx.matrix_format import (
    LARGEST,
    BlockFormat,
    Format,
    RowFormat,
    quantize_blocks,
    quantize_rows,
)
from tritone.llm.onnx.precision import Precision

LAST = "last_hidden"  # what logits are made of, an output where it is wanted

_INTEGER_DOT = 4  # accuracy_level of MatMulNBits: activations rounded to int8 per row and block


class CheckpointNumbers(DecoderSizes, Protocol):
    """Of a decoder on disk."""

    def model_dump_json(self) -> str: ...


@dataclass(frozen=True)
class StepGraph(ABC):
    """precision: of the stored matrices."""

    writer: GraphWriter
    checkpoint: Checkpoint
    config: DecoderSizes
    precision: Precision
    _rounded: set[str] = field(default_factory=set, init=False)  # what has codes in the graph

    @abstractmethod
    def build(self) -> None:
        """Write all nodes."""

    @abstractmethod
    def _outputs(self) -> dict[str, int]:
        """What is told of the last position of each row, and how wide it is."""

    def _declare(self) -> None:
        config = self.config
        cache = ["batch", config.num_key_value_heads, "slot", padded_head_dim(config.head_dim)]
        info = helper.make_tensor_value_info
        self.writer.inputs += [
            info("inputs_embeds", TensorProto.FLOAT, ["batch", "sequence", config.hidden_size]),
            info("seqlens_k", TensorProto.INT32, ["batch"]),
            info("total_sequence_length", TensorProto.INT32, []),
        ]
        for name, width in self._outputs().items():
            self.writer.outputs.append(info(name, TensorProto.FLOAT, ["batch", width]))
        for layer in range(config.num_hidden_layers):
            for name in (f"{layer}.key", f"{layer}.value"):
                self.writer.inputs.append(info(f"past.{name}", TensorProto.FLOAT, cache))
                self.writer.outputs.append(info(f"present.{name}", TensorProto.FLOAT, cache))

    def _linear(self, x: str, weight: Float32, bias: Float32 | None, name: str) -> str:
        """x (..., K) times weight (N, K) transposed, plus bias (N,)."""
        return self._product(x, weight, bias, name, self.precision.others)

    def _mlp_linear(self, x: str, weight: Float32, bias: Float32 | None, name: str) -> str:
        """As `_linear`, of the MLP of a layer."""
        return self._product(x, weight, bias, name, self.precision.mlp)

    def _product(
        self, x: str, weight: Float32, bias: Float32 | None, name: str, form: Format
    ) -> str:
        if isinstance(form, BlockFormat):
            return self._by_blocks(x, weight, bias, name, form.fitting(weight.shape[1]))
        writer = self.writer
        product = name if bias is None else f"{name}.product"
        if isinstance(form, RowFormat):
            self._by_rows(x, weight, product)
        else:
            writer.node("MatMul", [x, writer.constant(f"{name}.weight", weight.T)], product)
        if bias is not None:
            writer.node("Add", [product, writer.constant(f"{name}.bias", bias)], name)
        return name

    def _by_blocks(
        self, x: str, weight: Float32, bias: Float32 | None, name: str, form: BlockFormat
    ) -> str:
        writer = self.writer
        codes, scales = quantize_blocks(weight, form)
        inputs = [x, writer.constant(f"{name}.codes", codes)]
        inputs.append(writer.constant(f"{name}.scales", scales))
        if bias is not None:
            inputs += ["", "", writer.constant(f"{name}.bias", bias)]
        return writer.node(
            "MatMulNBits",
            inputs,
            name,
            domain=MICROSOFT,
            N=weight.shape[0],
            K=weight.shape[1],
            bits=form.bits,
            block_size=form.block_size,
            accuracy_level=_INTEGER_DOT,
        )

    def _by_rows(self, x: str, weight: Float32, name: str) -> None:
        codes, scales = quantize_rows(weight)
        given, largest = self._codes_of(x)
        # as MatMulIntegerToFloat takes them
        stored = [self.writer.constant(f"{name}.codes", codes.T), "rows.step"]
        stored.append(self.writer.constant(f"{name}.scales", scales))
        inputs = [given, *stored, "rows.zero"]
        units = f"{name}.units"
        self.writer.node("MatMulIntegerToFloat", inputs, units, domain=MICROSOFT)
        self.writer.node("Mul", [units, largest], name)

    def _codes_of(self, x: str) -> tuple[str, str]:
        """x (..., K) as bytes around 128, in units of the largest of each position over 127, and
        those (..., 1)."""
        node, constant = self.writer.node, self.writer.constant
        codes, largest = f"{x}.codes", f"{x}.largest"
        if not self._rounded:
            constant("rows.axis", np.array([-1], np.int64))
            constant("rows.step", np.array(1 / LARGEST, np.float32))
            constant("rows.zero", np.array(128, np.uint8))
        if x not in self._rounded:
            self._rounded.add(x)
            node("ReduceMax", [node("Abs", [x], f"{x}.sizes"), "rows.axis"], largest, keepdims=1)
            units = node("Div", [x, largest], f"{x}.units")
            node("QuantizeLinear", [units, "rows.step", "rows.zero"], codes)
        return codes, largest

    def _load(self, name: str) -> Float32:
        """As `finite`."""
        return finite(self.checkpoint, name)

    def _constant(self, name: str) -> str:
        return self.writer.constant(name, self._load(name))

"""The graph of one step of a decoder over slots: inputs, outputs, and matrices in any precision."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from onnx import TensorProto, helper

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.config import DecoderSizes
from tritone.llm.onnx.graph_writer import MICROSOFT, BlockFormat, GraphWriter, quantize_blocks

LAST = "last_hidden"  # what logits are made of, an output where it is wanted

_HEAD_MULTIPLE = 16  # of head sizes in GroupQueryAttention
_INTEGER_DOT = 4  # accuracy_level of MatMulNBits: activations rounded to int8 per row and block


class CheckpointNumbers(DecoderSizes, Protocol):
    """Of a decoder on disk."""

    def model_dump_json(self) -> str: ...


def pad_heads(weight: Float32, heads: int) -> Float32:
    """(heads * head_dim, ...) rows with each half of a head zero-padded to the operator's width.

    GroupQueryAttention takes head sizes in multiples of 16. Rotation pairs the halves of a head, so
    each half grows on its own; zeros add nothing to scores or values.
    """
    head_dim = weight.shape[0] // heads
    half, padded_half = head_dim // 2, padded_head_dim(head_dim) // 2
    padded = np.zeros((heads, 2, padded_half, *weight.shape[1:]), np.float32)
    padded[:, :, :half] = weight.reshape(heads, 2, half, *weight.shape[1:])
    return padded.reshape(heads * 2 * padded_half, *weight.shape[1:])


def padded_head_dim(head_dim: int) -> int:
    return -(-head_dim // _HEAD_MULTIPLE) * _HEAD_MULTIPLE


@dataclass(frozen=True)
class StepGraph(ABC):
    """form: of the stored matrices; None keeps float32."""

    writer: GraphWriter
    checkpoint: Checkpoint
    config: DecoderSizes
    form: BlockFormat | None

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
        writer = self.writer
        if self.form is None:
            product = name if bias is None else f"{name}.product"
            writer.node("MatMul", [x, writer.constant(f"{name}.weight", weight.T)], product)
            if bias is not None:
                writer.node("Add", [product, writer.constant(f"{name}.bias", bias)], name)
            return name
        form = self.form.fitting(weight.shape[1])
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

    def _load(self, name: str) -> Float32:
        """Finite, as a bias alone need not be. Raises ModelDirectoryError."""
        values = self.checkpoint.float32(name)
        if not np.isfinite(values).all():
            path = self.checkpoint.path
            raise ModelDirectoryError(f"{path}: {name} has values that are NaN or infinite")
        return values

    def _constant(self, name: str) -> str:
        return self.writer.constant(name, self._load(name))

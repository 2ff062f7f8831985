"""Prefill and decoding steps of a language model, and what the machine's peaks allow for them.

A step reads every weight once, whoever speaks, so memory bounds it; in a prefill so many positions
share a reading that products do. Attention is small beside the weights and is not counted.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmarks.figures import Figure, figure
from benchmarks.parts import PROMPT_TOKENS, cpu_seconds
from benchmarks.peaks import Peaks
from benchmarks.streams import some_prompt
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.contract import Model
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import ensure_graph

_HEAD = (
    "logits",
    "logits.product",
    "logits.units",
    "logits.product.units",
)  # taken of the last position alone


@dataclass(frozen=True)
class Matrices:
    """Of a graph. body, head: weights that every position, and that the last one, is multiplied
    with; bytes: of all of them as they are stored, scales included. dtype: of the products."""

    body: int
    head: int
    bytes: int
    dtype: torch.dtype

    @classmethod
    def of(cls, graph: Path) -> "Matrices":
        content = onnx.load(graph, load_external_data=False).graph
        stored = {tensor.name: tensor for tensor in content.initializer}
        sizes, size, dtype = Counter[bool](), 0, torch.float32
        for node in content.node:
            if node.op_type not in ("MatMul", "MatMulNBits", "MatMulIntegerToFloat"):
                continue
            numbers = {one.name: one.i for one in node.attribute}
            parts = [stored[name] for name in node.input if name in stored]
            is_head = node.output[0] in _HEAD
            if node.op_type != "MatMul":
                dtype = torch.int8  # of what activations are rounded to, whatever weights are
            if node.op_type == "MatMulNBits":
                sizes[is_head] += numbers["N"] * numbers["K"]
            else:
                sizes[is_head] += prod(parts[0].dims)  # scales and steps follow
            size += sum(_bytes(part) for part in parts)
        return cls(sizes[False], sizes[True], size, dtype)

    def operations(self, positions: int, parts: int) -> int:
        """Of a prefill in so many parts, each of which ends with the head."""
        return 2 * (self.body * positions + self.head * parts)


def _bytes(tensor: onnx.TensorProto) -> int:
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(prod(tensor.dims) * kind.itemsize)


def figures_of(
    model: Model, precision: str, streams: list[int], steps: int, peaks: Peaks
) -> list[Figure]:
    """Prefill of the benchmark's prompt, and decoding steps of 1, 4, 8.. streams together, on one
    thread."""
    graph = ensure_graph(model.folder, model.config, precision)
    session = OnnxSlots(
        model.folder / LLM_DIR,
        model.config.llm,
        precision=precision,
        slots=max(streams),
        slot_length=512,
        graph=graph,
    )
    embedding = EmbeddingTable(Checkpoint(model.folder / LLM_DIR / WEIGHTS_NAME))
    ids, _ = some_prompt(model.config, PROMPT_TOKENS)
    prompt, matrices = embedding(ids), Matrices.of(graph)
    begins = range(0, len(prompt), session.prefill_part)

    def prefill(slot: int) -> None:
        for begin in begins:
            session.prefill(slot, prompt[begin : begin + session.prefill_part], begin)

    prefill(0)
    prefills = [cpu_seconds(partial(prefill, slot)) for slot in range(max(streams))]
    operations = matrices.operations(len(ids), len(begins))
    found = [
        figure(
            f"LLM {precision}, prefill of {len(ids)} ids",
            "s of CPU",
            prefills,
            least=peaks.seconds_of_products(operations, matrices.dtype),
            limit=f"{peaks.name_for(matrices.dtype)} product",
        )
    ]
    for count in streams:
        embeds = embedding(ids[-count:])
        seconds = []
        for step in range(steps):
            lengths = np.full(count, len(ids) + step, np.int32)
            seconds.append(cpu_seconds(partial(session.decode, embeds, lengths)))
        name = f"LLM {precision}, step of {count} stream{'s' * (count > 1)}"
        least = peaks.seconds_of_reading(matrices.bytes)
        found.append(figure(name, "s of CPU", seconds, least=least, limit="memory read"))
    return found

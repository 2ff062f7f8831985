"""Prefill and decoding steps of a language model, and what the machine's peaks allow for them.

A step reads every weight once, whoever speaks, so memory bounds it; in a prefill so many positions
share a reading that products do. Attention is small beside the weights and is not counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from benchmarks.figures import Figure, figure
from benchmarks.parts import PROMPT_TOKENS, cpu_seconds
from benchmarks.peaks import Peaks
from benchmarks.streams import some_prompt
from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.contract import Model
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.native.choice import AUTO, chosen
from tritone.llm.native.slots import NativeSlots
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import ensure_graph
from tritone.llm.slots.session import SlotSession

_HEAD = ("logits", "logits.product")  # taken of the last position alone


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
            is_head = node.output[0].removesuffix(".units") in _HEAD
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
    thread: on ONNX Runtime, and in turn with it by the kernel in C where one serves here."""
    graph = ensure_graph(model.folder, model.config, precision)
    sessions = _sessions(model, precision, graph, max(streams))
    embedding = EmbeddingTable(Checkpoint(model.folder / LLM_DIR / WEIGHTS_NAME))
    ids, _ = some_prompt(model.config, PROMPT_TOKENS)
    prompt, matrices = embedding(ids), Matrices.of(graph)
    begins = range(0, len(prompt), OnnxSlots.prefill_part)

    def prefill(session: SlotSession, slot: int) -> None:
        for begin in begins:
            session.prefill(slot, prompt[begin : begin + session.prefill_part], begin)

    for session in sessions.values():
        prefill(session, 0)
    operations = matrices.operations(len(ids), len(begins))
    least = peaks.seconds_of_products(operations, matrices.dtype)
    held = partial(figure, least=least, limit=f"{peaks.name_for(matrices.dtype)} product")
    calls = [partial(prefill, slot=slot) for slot in range(max(streams))]
    found = _in_turn(sessions, calls, f"prefill of {len(ids)} ids", held)
    held = partial(figure, least=peaks.seconds_of_reading(matrices.bytes), limit="memory read")
    for count in streams:
        embeds = embedding(ids[-count:])
        lengths = [np.full(count, len(ids) + step, np.int32) for step in range(steps)]
        calls = [partial(_decode, embeds=embeds, lengths=each) for each in lengths]
        found += _in_turn(sessions, calls, f"step of {count} stream{'s' * (count > 1)}", held)
    return found


def _sessions(model: Model, precision: str, graph: Path, slots: int) -> dict[str, SlotSession]:
    folder, llm = model.folder / LLM_DIR, model.config.llm
    sizes: dict[str, Any] = {"slots": slots, "slot_length": 512}
    found: dict[str, SlotSession] = {
        precision: OnnxSlots(folder, llm, precision=precision, graph=graph, **sizes)
    }
    kernel, _ = chosen(AUTO, precision, threads=1)
    if kernel:
        name = f"{precision} by kernel {kernel.name}"
        found[name] = NativeSlots(folder, llm, kernel.path, **sizes)
    return found


def _decode(session: SlotSession, embeds: Float32, lengths: Int32) -> None:
    session.decode(embeds, lengths)


def _in_turn(
    sessions: dict[str, SlotSession],
    calls: Sequence[Callable[[SlotSession], None]],
    what: str,
    held: Callable[..., Figure],
) -> list[Figure]:
    """Seconds of CPU of the calls, of each session."""
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for call in calls:
        for name, session in sessions.items():
            seconds[name].append(cpu_seconds(partial(call, session)))
    return [held(f"LLM {name}, {what}", "s of CPU", taken) for name, taken in seconds.items()]

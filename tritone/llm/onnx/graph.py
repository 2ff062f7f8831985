"""The ONNX graph of the merged language model, written node by node.

It serves prefill and decoding. Rows of a batch are independent streams of any length:

    inputs_embeds          (batch, sequence, hidden)  the new positions
    seqlens_k              (batch,) int32             positions of each row, the new too, less 1
    total_sequence_length  () int32                   the largest of them, plus 1
    past.<layer>.key       (batch, kv_heads, slot, head_dim)  the slots' buffer; likewise value
    present.<layer>.key    same shape                 to be bound to the same memory
    logits                 (batch, speech head)       of the last position: codes, then stop ids
    text_queries           (batch, heads * head_dim)  of the last position, not turned to it: of the
                           checkpoint's text heads, where it has any
    last_hidden            (batch, hidden)            what the logits are made of, of decoders whose
                           states are wanted

Only the speech head is in the graph, with its bias, so that no text id can be drawn. Token ids stay
outside: the embedding is gathered from the checkpoint file, which costs no memory for unused rows.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from tritone.checkpoints.safetensors_file import Checkpoint, to_float32
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import HEAD, HEAD_BIAS, WEIGHTS_NAME
from tritone.llm.config import LLMConfig
from tritone.llm.head_padding import padded_head_dim
from tritone.llm.onnx.decoder_graph import DecoderGraph
from tritone.llm.onnx.graph_files import checkpoint_key, graph_path
from tritone.llm.onnx.graph_writer import graph_writer
from tritone.llm.onnx.precision import PRECISIONS
from tritone.llm.onnx.step_graph import CheckpointNumbers, StepGraph

CONFIG_KEY = "tritone.llm"  # metadata entry that ties a graph to its checkpoint


def build_graph(
    llm_dir: Path, config: LLMConfig, precision: str = "int8", path: Path | None = None
) -> Path:
    """Write the graph of the merged checkpoint in `llm_dir` and return its path.

    precision: a key of PRECISIONS. path: where, if not beside the checkpoint. Only a few tensors
    are in memory at a time. Raises ModelDirectoryError for an unknown precision or a damaged
    checkpoint.
    """
    return build(Qwen2Graph, llm_dir, config, precision, path)


def build(
    kind: type[StepGraph],
    llm_dir: Path,
    config: CheckpointNumbers,
    precision: str,
    path: Path | None = None,
    weights: Path | None = None,
) -> Path:
    """As `build_graph`, of any decoder. weights: where they are, if not in `llm_dir`."""
    if precision not in PRECISIONS:
        raise ModelDirectoryError(
            f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}"
        )
    path = path or graph_path(llm_dir, precision)
    weights = weights or llm_dir / WEIGHTS_NAME
    checkpoint = Checkpoint(weights)
    with graph_writer(path, {CONFIG_KEY: checkpoint_key(weights, config)}) as writer:
        kind(writer, checkpoint, config, PRECISIONS[precision]).build()
    return path


def built_from(path: Path) -> str:
    """The `checkpoint_key` of the checkpoint that a graph was built from; empty if unknown, and for
    a damaged graph."""
    try:
        properties = onnx.load(path, load_external_data=False).metadata_props
    except Exception:  # of protobuf, whose errors have no name of their own
        return ""
    return next((p.value for p in properties if p.key == CONFIG_KEY), "")


@dataclass(frozen=True)
class Qwen2Graph(DecoderGraph):
    """Of a Qwen2 that speaks: the head has the codes and stop ids alone."""

    config: LLMConfig

    def _outputs(self) -> dict[str, int]:
        config, widths = self.config, {"logits": self.config.speech_head_size}
        if heads := len(config.text_heads):
            widths["text_queries"] = heads * padded_head_dim(config.head_dim)
        return widths

    def _projected(self, layer: int, normed: str) -> list[str]:
        weight, bias = self._joined(layer, "weight"), self._joined(layer, "bias")
        return [self._linear(normed, weight, bias, f"layer{layer}.qkv"), "", ""]

    def _head(self, last: str) -> None:
        rows = self.config.speech_rows
        head, bias = (to_float32(self.checkpoint.stored(n)[rows]) for n in (HEAD, HEAD_BIAS))
        self._linear(last, head, bias, "logits")
        if self.config.text_heads:
            self._text_queries()

    def _text_queries(self) -> None:
        """What the text heads ask for, cut out of their layers' products."""
        node, constant, dim = (
            self.writer.node,
            self.writer.constant,
            padded_head_dim(self.config.head_dim),
        )
        parts, axis = [], constant("text.axis", np.array([1], np.int64))
        for layer, head in self.config.text_heads:
            name = f"text.{layer}.{head}"
            last = node("Gather", [f"layer{layer}.qkv", "last"], f"{name}.last", axis=1)
            begin = constant(f"{name}.begin", np.array([head * dim], np.int64))
            end = constant(f"{name}.end", np.array([(head + 1) * dim], np.int64))
            parts.append(node("Slice", [last, begin, end, axis], f"{name}.query"))
        node("Concat", parts, "text_queries", axis=1)

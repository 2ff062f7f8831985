"""The language model as an ONNX Runtime session, on a CPU.

The buffer of keys and values is bound by address, so that nothing is copied between steps.

What a stream says must not depend on who speaks beside it. Rows of a float32 product are computed
alike whatever their number; those of the integer kernels (MLAS) are taken in pairs, and a last odd
one by a kernel that rounds otherwise. So a batch always has an even number of rows.
"""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import WEIGHTS_NAME
from tritone.llm.onnx.graph import CONFIG_KEY
from tritone.llm.onnx.graph_files import checkpoint_key, graph_path
from tritone.llm.onnx.instructions import check_instructions
from tritone.llm.onnx.precision import PRECISIONS
from tritone.llm.onnx.slot_memory import SlotMemory
from tritone.llm.onnx.step_graph import LAST, CheckpointNumbers
from tritone.llm.rotary import DecoderNumbers, rotary_tables


class OnnxSlots:
    """`tritone.llm.slots.session.SlotSession` on ONNX Runtime.

    threads: of one operator; they do not spin while they wait. Memory of a position is taken when
    it is written, until its slot is cleared. graph: where that of `precision` is, if not beside the
    checkpoint. weights: where they are, if not in `llm_dir`.

    Raises ModelDirectoryError if the graph is missing or belongs to another checkpoint, and
    EnvironmentProblem for a precision that this processor would compute wrongly.
    """

    prefill_part = 64

    def __init__(
        self,
        llm_dir: Path,
        config: CheckpointNumbers,
        *,
        precision: str,
        slots: int,
        slot_length: int,
        threads: int = 1,
        graph: Path | None = None,
        weights: Path | None = None,
    ) -> None:
        self.slots, self.slot_length = slots, slot_length
        path = graph or graph_path(llm_dir, precision)
        weights = weights or llm_dir / WEIGHTS_NAME
        self._session = _open(path, weights, config, precision, threads)
        past = next(i for i in self._session.get_inputs() if i.name == "past.0.key")
        head = next(o for o in self._session.get_outputs() if o.name == "logits")
        head_dim, head_size = int(past.shape[3]), int(head.shape[1])
        layers, heads = config.num_hidden_layers, config.num_key_value_heads
        # all in one may be more than the system promises to anybody
        rows = _even(slots)
        shape = (rows, heads, slot_length, head_dim)
        self._memory = [SlotMemory(shape) for _ in range(2 * layers)]
        arrays = [memory.array for memory in self._memory]
        self._cache = list(zip(arrays[::2], arrays[1::2], strict=True))  # keys, values
        self._embeds = np.zeros((rows, 1, config.hidden_size), np.float32)
        self._lengths = np.zeros(rows, np.int32)
        self._longest = np.zeros((), np.int32)
        self._logits = np.zeros((rows, head_size), np.float32)
        self._batches: dict[int, onnxruntime.IOBinding] = {}
        self._heads = config.text_heads
        self._group = config.num_attention_heads // heads
        self._queries = np.zeros((rows, len(self._heads), 2, head_dim // 2), np.float32)
        told = {output.name for output in self._session.get_outputs()}
        width = config.hidden_size if LAST in told else 0
        self._last = np.zeros((rows, width), np.float32)
        self._cos, self._sin = _turns(config, head_dim) if self._heads else (self._queries,) * 2

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        embeds = np.ascontiguousarray(embeds[None])
        length = start + embeds.shape[1]
        self._lengths[0] = length - 1
        self._longest[()] = length
        self._session.run_with_iobinding(self._binding(slot, 1, embeds))
        logits: Float32 = self._logits[0].copy()
        return logits

    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        count = len(embeds)
        self._embeds[:count, 0] = embeds
        self._lengths[:count] = lengths
        rows = _even(count)
        if rows > count:  # it writes there, where whoever has that slot goes on over it
            self._lengths[count] = beyond
        self._longest[()] = self._lengths[:rows].max() + 1
        if rows not in self._batches:
            self._batches[rows] = self._binding(0, rows, self._embeds[:rows])
        self._session.run_with_iobinding(self._batches[rows])
        return self._logits[:count]

    def move(self, source: int, target: int, length: int, start: int = 0) -> None:
        for cache in chain(*self._cache):
            cache[target, :, start:length] = cache[source, :, start:length]

    def swap(self, first: int, second: int, length: int) -> None:
        for cache in chain(*self._cache):
            cache[[first, second], :, :length] = cache[[second, first], :, :length]

    def clear(self, slot: int) -> None:
        for memory in self._memory:
            memory.clear(slot)

    def text_keys(self, slot: int, prompt: int) -> Float32:
        keys = [self._cache[layer][0][slot, head // self._group] for layer, head in self._heads]
        return np.concatenate([of_head[:prompt] for of_head in keys], axis=1)

    def text_query(self, row: int, position: int) -> Float32:
        halves = self._queries[row]
        turned = halves * self._cos[position] + halves[:, ::-1] * self._sin[position]
        return turned.reshape(-1)  # type: ignore[no-any-return]

    def latent(self, row: int) -> Float32:
        state: Float32 = self._last[row].copy()
        return state

    def _binding(self, slot: int, count: int, embeds: Float32) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        given, result = binding.bind_input, binding.bind_output

        def bind(to: Callable[..., None], name: str, array: NDArray[Any]) -> None:
            to(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

        bind(given, "inputs_embeds", embeds)
        bind(given, "seqlens_k", self._lengths[:count])
        bind(given, "total_sequence_length", self._longest)
        bind(result, "logits", self._logits[:count])
        if self._heads:
            bind(result, "text_queries", self._queries[:count].reshape(count, -1))
        if self._last.size:
            bind(result, LAST, self._last[:count])
        for layer, parts in enumerate(self._cache):
            for part, name in zip(parts, ("key", "value"), strict=True):
                cache = part[slot : slot + count]  # contiguous: slots lie side by side
                bind(given, f"past.{layer}.{name}", cache)
                bind(result, f"present.{layer}.{name}", cache)
        return binding


def _turns(config: CheckpointNumbers, head_dim: int) -> tuple[Float32, Float32]:
    """What the halves of a head, and the halves in turn, are multiplied by to be turned to a
    position: (positions, 1, half) and (positions, 2, half), padded as `pad_heads` has it."""
    turning = cast(DecoderNumbers, config)  # text heads are of decoders whose positions turn
    extra = (head_dim - config.head_dim) // 2
    cos, sin = (np.pad(table, ((0, 0), (0, extra))) for table in rotary_tables(turning))
    return cos[:, None], np.stack([-sin, sin], axis=1)


def _even(count: int) -> int:
    return count + count % 2


def _open(
    path: Path, weights: Path, config: CheckpointNumbers, precision: str, threads: int
) -> onnxruntime.InferenceSession:
    if precision not in PRECISIONS or not path.is_file():
        built = ", ".join(sorted(p.stem for p in path.parent.glob("*.onnx"))) or "nothing"
        raise ModelDirectoryError(
            f"{path} does not exist (built: {built}); build it with `tritone convert "
            f"--llm-precision`, one of {', '.join(PRECISIONS)}"
        )
    check_instructions(precision)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # memory patterns are kept per input shape, and nearly every prompt has its own length
    options.enable_mem_pattern = False
    if threads > 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no narrower base
        raise ModelDirectoryError(f"{path} cannot be loaded: {error}") from error
    found = session.get_modelmeta().custom_metadata_map.get(CONFIG_KEY)
    if found != checkpoint_key(weights, config):
        raise ModelDirectoryError(f"{path} was built from another checkpoint; build it again")
    return session

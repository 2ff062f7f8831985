"""The language model by a kernel in C, behind the protocol of slot sessions."""

from pathlib import Path

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.llm.checkpoint import WEIGHTS_NAME
from tritone.llm.config import LLMConfig
from tritone.llm.head_padding import padded_head_dim
from tritone.llm.native.decoder import NativeDecoder
from tritone.llm.native.weights import Qwen2Weights
from tritone.llm.onnx.slot_memory import SlotMemory
from tritone.memory import give_back

_BLOCK = 16  # positions whose keys lie together


class NativeSlots:
    """`tritone.llm.slots.session.SlotSession` of the precision int8_rows, on one thread.

    A row is the same to the last bit whatever is computed beside it, and in whatever parts a prompt
    comes. Memory of a position is taken when it is written, until its slot is cleared. kernel: a
    build of decoder.c.

    Raises ModelDirectoryError for a damaged checkpoint, and EnvironmentProblem for a kernel that
    cannot be loaded.
    """

    prefill_part = 64

    def __init__(
        self, llm_dir: Path, config: LLMConfig, kernel: Path, *, slots: int, slot_length: int
    ) -> None:
        assert slot_length <= config.max_position_embeddings
        self.slots, self.slot_length = slots, slot_length
        blocks, dim = -(-slot_length // _BLOCK), padded_head_dim(config.head_dim)
        heads, layers = config.num_key_value_heads, config.num_hidden_layers
        keys, values = (slots, heads, blocks, dim, _BLOCK), (slots, heads, blocks * _BLOCK, dim)
        self._memory = [SlotMemory(s) for _ in range(layers) for s in (keys, values)]
        arrays = [memory.array for memory in self._memory]
        self._cache = list(zip(arrays[::2], arrays[1::2], strict=True))
        weights = Qwen2Weights.read(Checkpoint(llm_dir / WEIGHTS_NAME), config)
        self._decoder = NativeDecoder(kernel, weights, config, self._cache, blocks * _BLOCK)
        give_back()  # what tensors were rounded in
        self._hidden, self._head_size = config.hidden_size, config.speech_head_size
        self._heads = config.text_heads
        self._group = config.num_attention_heads // heads
        width = self._decoder.width
        self._x = np.zeros((max(slots, self.prefill_part), width), np.float32)
        self._logits = np.zeros((slots, self._decoder.head_width), np.float32)
        self._queries = np.zeros((slots, len(self._heads), 2, dim // 2), np.float32)
        self._last = np.zeros((slots, width), np.float32)

    def prefill(self, slot: int, embeds: Float32, start: int = 0) -> Float32:
        for begin in range(0, len(embeds), self.prefill_part):
            part = embeds[begin : begin + self.prefill_part]
            places = np.arange(start + begin, start + begin + len(part), dtype=np.int32)
            self._step(part, np.full(len(part), slot, np.int32), places, 1)
        return self._logits[0, : self._head_size].copy()

    def decode(self, embeds: Float32, lengths: Int32, beyond: int = 0) -> Float32:
        count = len(embeds)
        self._step(embeds, np.arange(count, dtype=np.int32), lengths, count)
        return self._logits[:count, : self._head_size]

    def move(self, source: int, target: int, length: int, start: int = 0) -> None:
        first, end = start // _BLOCK, -(-length // _BLOCK)
        for keys, values in self._cache:
            keys[target, :, first:end] = keys[source, :, first:end]
            values[target, :, start:length] = values[source, :, start:length]

    def swap(self, first: int, second: int, length: int) -> None:
        end = -(-length // _BLOCK)
        for keys, values in self._cache:
            keys[[first, second], :, :end] = keys[[second, first], :, :end]
            values[[first, second], :, :length] = values[[second, first], :, :length]

    def clear(self, slot: int) -> None:
        for memory in self._memory:
            memory.clear(slot)

    def text_keys(self, slot: int, prompt: int) -> Float32:
        blocks = [self._cache[layer][0][slot, head // self._group] for layer, head in self._heads]
        heads = [keys[: -(-prompt // _BLOCK)].transpose(0, 2, 1) for keys in blocks]
        return np.concatenate([keys.reshape(-1, keys.shape[2])[:prompt] for keys in heads], axis=1)

    def text_query(self, row: int, position: int) -> Float32:
        (one, other), (cos, sin) = self._queries[row].swapaxes(0, 1), self._decoder.turned[position]
        turned = np.stack([one * cos - other * sin, other * cos + one * sin], axis=1)
        return turned.reshape(-1)  # type: ignore[no-any-return]

    def latent(self, row: int) -> Float32:
        state: Float32 = self._last[row, : self._hidden].copy()
        return state

    def _step(self, embeds: Float32, slots: Int32, positions: Int32, answers: int) -> None:
        """Of rows of those embeddings; the last ones are answered."""
        x = self._x[: len(embeds)]
        x[:, : self._hidden] = embeds
        x[:, self._hidden :] = 0  # a row that was no number left none
        assert slots.max() < self.slots
        given = self._logits[:answers], self._queries[:answers], self._last[:answers]
        self._decoder.step(x, slots, np.ascontiguousarray(positions, np.int32), given)

"""The language model on one slot, as the golden runs had it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.onnx.graph import build_graph
from tritone.llm.onnx.slots import OnnxSlots


class Model:
    """One stream on one slot."""

    def __init__(self, llm_dir: Path, config: SpeechIds, precision: str) -> None:
        build_graph(llm_dir, config, precision)
        self.config = config
        self._embed = EmbeddingTable(Checkpoint(llm_dir / WEIGHTS_NAME))
        self._slots = OnnxSlots(llm_dir, config, precision=precision, slots=1, slot_length=1024)
        self._length = 0

    def start(self, prompt: Int32) -> Float32:
        self.clear()
        return self.read(prompt)

    def clear(self) -> None:
        self._length = 0

    def read(self, ids: Int32) -> Float32:
        logits = self._slots.prefill(0, self._embed(ids), self._length)
        self._length += len(ids)
        return logits

    def feed(self, code: int) -> Float32:
        ids = np.array([self.config.speech_offset + code], np.int32)
        logits = self._slots.decode(self._embed(ids), np.array([self._length], np.int32))
        self._length += 1
        last: Float32 = logits[0].copy()
        return last

    def prompt(self, golden: Mapping[str, Any]) -> Int32:
        """sos, prompt_text, text, task_id, prompt_speech: the released layout."""
        parts = ("prompt_text", "text", "prompt_speech")
        prompt_text, text, speech = (np.ravel(golden[part]).astype(np.int32) for part in parts)
        sos, task = [self.config.sos_id], [self.config.task_id]
        speech += self.config.speech_offset
        return np.concatenate([sos, prompt_text, text, task, speech]).astype(np.int32)


def torch_multinomial(weights: Float32) -> int:
    return int(torch.from_numpy(weights).multinomial(1, replacement=True))

"""Emotions read out of a text by the release's emotion model, on a CPU by ONNX Runtime."""

import re
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

from tritone.arrays import Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.emotion_model_config import (
    MOST_TOKENS,
    PRECISION,
    EmotionModelConfig,
)
from tritone.families.indextts2.emotion_words import shares_of
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer
from tritone.llm.checkpoint import WEIGHTS_NAME, EmbeddingTable
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.slots import OnnxSlots
from tritone.loading.steps import step

_CONTROL = re.compile(r"(<\|[^|<>]+\|>)")
_THOUGHT = "</think>"  # ends what comes before an answer
_REMEMBERED = 256  # texts whose emotions stay known


class EmotionModel:
    """Safe to use from several threads; one text is read at a time.

    Raises ModelDirectoryError when a file is missing or damaged.
    """

    def __init__(self, folder: Path, config: EmotionModelConfig, threads: int = 1) -> None:
        graph = graph_path(folder, PRECISION)
        with step("emotion model", graph):
            if not graph.is_file():
                raise ModelDirectoryError(f"{graph} does not exist; run tritone convert again")
            self._tokenizer = TextTokenizer(folder / TOKENIZER_NAME)
            self._embed = EmbeddingTable(Checkpoint(folder / WEIGHTS_NAME))
            self._slots = OnnxSlots(
                folder,
                config.decoder,
                precision=PRECISION,
                slots=1,
                slot_length=config.decoder.max_position_embeddings,
                threads=threads,
            )
            self._config, self._turn = config, threading.Lock()
            self._ends = frozenset(self._end_ids())
            self._prompt("")  # what the tokenizer lacks of the template is told now
        self.shares = lru_cache(_REMEMBERED)(self._shares)

    def _shares(self, text: str) -> tuple[float, ...]:
        """0 to 1.2 of each of `emotion.EMOTIONS`. Raises InvalidRequest for a text that is too
        long."""
        return shares_of(self.answer(text), text)

    def answer(self, text: str) -> str:
        """What the model says to it, word for word."""
        prompt = self._prompt(text)
        most = self._slots.slot_length - MOST_TOKENS
        if len(prompt) > most:
            raise InvalidRequest(
                "emotion_text", f"has {len(prompt)} tokens with what is asked; the limit is {most}"
            )
        with self._turn:
            said = self._generated(prompt)
        thought = self._tokenizer.encode(_THOUGHT)
        if len(thought) == 1 and thought[0] in said:
            said = said[len(said) - said[::-1].index(thought[0]) :]
        return self._tokenizer.decode(said).strip()

    def _end_ids(self) -> list[int]:
        """With what ends the words of a dialogue, an answer's too, whatever the release names."""
        closing = _CONTROL.search(self._config.closing)
        more = [self._tokenizer.control_id(closing[0])] if closing else []
        return [*self._config.end_ids, *more]

    def _prompt(self, text: str) -> Int32:
        """Control tokens of the text itself, of the form <|...|>, are plain characters."""
        *before, opening = _CONTROL.split(self._config.opening)
        closing, *after = _CONTROL.split(self._config.closing)
        parts = (self._ids(part) for part in (*before, None, *after) if part != "")
        middle = self._tokenizer.encode(f"{opening}{text}{closing}")
        ids = [i for part in parts for i in (middle if part is None else part)]
        return np.array(ids, np.int32)

    def _ids(self, part: str | None) -> list[int] | None:
        if part is None:
            return None
        if _CONTROL.fullmatch(part):
            return [self._tokenizer.control_id(part)]
        return self._tokenizer.encode(part)

    def _generated(self, prompt: Int32) -> list[int]:
        """The likeliest token each time, up to an end."""
        said: list[int] = []
        logits = self._slots.prefill(0, self._embed(prompt))
        while (token := int(logits.argmax())) not in self._ends:
            said.append(token)
            if len(said) == MOST_TOKENS:
                break
            length = np.array([len(prompt) + len(said) - 1], np.int32)
            logits = self._slots.decode(self._embed(np.array([token], np.int32)), length)[0]
        return said

"""The tiny golden language model for the tests of the llm room, and a hand on its scheduler."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paths
import pytest
from waiting import HANG_S

from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.merge_llm import merge_llm
from tritone.llm.config import SamplingConfig, SpokenConfig
from tritone.llm.contract import GenerationRequest, Increment, Prompt, SamplingParams
from tritone.llm.onnx.graph import build_graph
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import open_onnx
from tritone.llm.slots.scheduler import SlotLanguageModel

GOLDEN = paths.GOLDEN / "llm_frontend"
TINY = GOLDEN / "llm_tiny"
TEXT_IDS = 284
GREEDY = SamplingParams(top_k=1)

Built = tuple[Path, SpokenConfig]
Open = Callable[..., SlotLanguageModel]


def merge_tiny(llm_dir: Path) -> SpeechIds:
    base = TINY / "CosyVoice-BlankEN"
    return merge_llm(TINY / "llm.pt", base, llm_dir, text_ids=TEXT_IDS)


@dataclass(frozen=True)
class TinyConfig:
    """As much of a configuration as a runtime reads."""

    llm: SpeechIds
    sampling: SamplingConfig
    sample_rate: int = 24000


def build_tiny(model_dir: Path, *precisions: str) -> TinyConfig:
    """A model directory that holds the language model alone, with a config to match."""
    llm = merge_tiny(model_dir / "llm")
    for precision in precisions:
        build_graph(model_dir / "llm", llm, precision)
    return TinyConfig(llm, SamplingConfig())


def models(built: Built) -> Iterator[Open]:
    """Yield a function that opens language models, and close them afterwards."""
    opened: list[SlotLanguageModel] = []

    def open_one(**options: Any) -> SlotLanguageModel:
        model = open_onnx(*built, **{"max_tokens": 256, **options})
        opened.append(model)
        return model

    yield open_one
    for model in opened:
        model.close()


def request(
    seed: int = 0,
    *,
    tokens: int = 20,
    sampling: SamplingParams = GREEDY,
    minimum: int | None = None,
) -> GenerationRequest:
    rng = np.random.default_rng(seed)
    text = rng.integers(0, 264, 5 + 3 * seed)
    ids = np.concatenate([[6848], text, [6849]]).astype(np.int32)
    least = tokens if minimum is None else minimum
    return GenerationRequest(Prompt(ids=ids), least, tokens, sampling)


def tokens_of(generation: Iterable[Increment]) -> list[int]:
    return [int(token) for increment in generation for token in increment.ids]


class Gate:
    """Lets the scheduler take one step at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._permits = threading.Semaphore(0)
        self._reached = threading.Semaphore(0)
        self.batches: list[int] = []
        decode = OnnxSlots.decode

        def gated(session, embeds, lengths, beyond=0):
            self._reached.release()
            assert self._permits.acquire(timeout=HANG_S)
            self.batches.append(len(embeds))
            return decode(session, embeds, lengths, beyond)

        monkeypatch.setattr(OnnxSlots, "decode", gated)

    def wait(self) -> None:
        """Until the scheduler stands before its next step."""
        assert self._reached.acquire(timeout=HANG_S)

    def step(self) -> None:
        """Let the step go that `wait` saw, and wait for the next."""
        self._permits.release()
        self.wait()

    def open(self) -> None:
        self._permits.release(10_000)

"""The toy's flow and vocoder: a tone a frame, and its sine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tritone.acoustic.flow_stage import StageStep
from tritone.acoustic.solver import StreamState
from tritone.errors import InvalidRequest
from tritone.llm.contract import Increment

FRAMES_EACH = 2
HIGHEST_CODE = 10_000


@dataclass(frozen=True)
class ToyStream:
    pitch: float
    nbytes: int = 0

    def fork(self) -> "ToyStream":
        return self


class ToyFlow:
    bins = 1

    def __init__(self, lowest_hz: float) -> None:
        self._lowest = lowest_hz

    def record_graphs(self) -> None:
        pass

    def in_use(self, state: StreamState) -> bool:
        return False

    def example(self) -> tuple[Any, Increment]:
        from tritone.families.toy import ToyVoice

        return ToyVoice(1.0), Increment(torch.arange(10, dtype=torch.int32).numpy())

    def start(self, voice: Any) -> ToyStream:
        return ToyStream(voice.pitch)

    def check(self, increment: Increment, state: Any) -> None:
        if len(increment) and increment.ids.max() > HIGHEST_CODE:
            raise InvalidRequest("target_speech_tokens", f"is above {HIGHEST_CODE}")

    def step_all(self, steps: Sequence[StageStep]) -> list[tuple[Tensor, StreamState]]:
        return [(self._tones(s.increment, self._stream(s.state).pitch), s.state) for s in steps]

    def whole(self, increment: Increment, voice: Any) -> Tensor:
        return self._tones(increment, voice.pitch)

    @staticmethod
    def _stream(state: StreamState) -> ToyStream:
        assert isinstance(state, ToyStream)
        return state

    def _tones(self, increment: Increment, pitch: float) -> Tensor:
        hz = (self._lowest + torch.tensor(increment.ids) % 1000) * pitch
        return hz.float().repeat_interleave(FRAMES_EACH)[None]


@dataclass(frozen=True)
class ToyPhase:
    turns: Tensor

    def to_tensors(self) -> dict[str, Tensor]:
        return {"turns": self.turns}


class ToyVocoder:
    bins = 1
    device = torch.device("cpu")
    warm_up_frames = (20,)

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate

    def start(self, seed: int) -> ToyPhase:
        return ToyPhase(torch.zeros(1, dtype=torch.float64))

    def restore(self, tensors: Mapping[str, Tensor]) -> ToyPhase:
        return ToyPhase(tensors["turns"])

    def step(self, frames: Tensor, state: ToyPhase, *, finalize: bool) -> tuple[Tensor, ToyPhase]:
        hz = frames[0].double().repeat_interleave(self._rate // 50)
        turns = state.turns + torch.cumsum(hz / self._rate, 0)
        wave = 0.3 * torch.sin(2 * math.pi * turns).float()
        return wave, ToyPhase(turns[-1:] % 1 if len(turns) else state.turns)

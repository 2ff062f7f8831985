"""The vocoder as a stage: stateless, with a stream's small state going in and out as bytes."""

import threading
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from tritone.acoustic.graphed_filter import SEEN
from tritone.acoustic.stretch import StretchState, stretch, stretch_step
from tritone.arrays import Float32
from tritone.loading.steps import step

_OWN = "vocoder."  # before the names of the vocoder's own tensors, among those of a stream


class VocoderState(Protocol):
    """What a vocoder carries from call to call, some tens of kilobytes."""

    def to_tensors(self) -> dict[str, Tensor]: ...


StateT = TypeVar("StateT", bound=VocoderState)


class StreamingVocoder(Protocol[StateT]):
    """Frames (bins, n) to samples, call by call. warm_up_frames: of the calls that begin a stream,
    whose lengths are worth a warm-up."""

    bins: int

    @property
    def device(self) -> torch.device: ...

    @property
    def warm_up_frames(self) -> tuple[int, ...]: ...

    def start(self, seed: int) -> StateT: ...

    def step(self, mel: Tensor, state: StateT, *, finalize: bool) -> tuple[Tensor, StateT]:
        """Take new frames (bins, n), n >= 0; return the samples that are ready and the new state.

        A state may be used again; all of the samples are out with `finalize`.
        """
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> StateT:
        """A state from what its `to_tensors` gave, on any device."""
        ...


@dataclass(frozen=True)
class Vocoding:
    """A stream between two calls: its tempo and the state of both steps."""

    speed: float
    tempo: StretchState
    vocoder: VocoderState

    def to_bytes(self) -> bytes:
        """Named tensors in safetensors form, some tens of kilobytes."""
        tensors = {
            "kept": self.tempo.kept,
            "numbers": torch.tensor([self.tempo.first, self.tempo.produced]),
            "speed": torch.tensor([self.speed], dtype=torch.float64),
            **{_OWN + name: tensor for name, tensor in self.vocoder.to_tensors().items()},
        }
        packed: bytes = save({name: t.cpu().contiguous() for name, t in tensors.items()})
        return packed


class VocoderStage:
    """Starts and steps streams of one vocoder. Safe to use from several threads."""

    def __init__(self, vocoder: StreamingVocoder[Any]) -> None:
        self._vocoder, self._device = vocoder, vocoder.device
        self._stepping = threading.Lock() if self._device.type == "cuda" else nullcontext()

    @property
    def bins(self) -> int:
        """Of the frames that it takes."""
        return self._vocoder.bins

    def warm_up(self) -> None:
        """Decode a short stream: the first calls of an operator with a new length are slow."""
        with step("vocoder warm-up"):
            for _ in range(1 if self._device.type == "cpu" else SEEN):
                state = self.start(seed=0, speed=1.0)
                for frames in self._vocoder.warm_up_frames:
                    mel = np.zeros((self.bins, frames), np.float32)
                    _, state = self.step(mel, state, finalize=False)

    @torch.inference_mode()
    def start(self, *, seed: int, speed: float) -> Vocoding:
        nothing = torch.zeros(self.bins, 0, device=self._device)
        return Vocoding(speed, StretchState(nothing), self._vocoder.start(seed))

    def unpack(self, data: bytes) -> Vocoding:
        """The way back from `Vocoding.to_bytes`."""
        tensors = load(data)
        first, produced = tensors["numbers"].tolist()
        tempo = StretchState(tensors["kept"].to(self._device), first, produced)
        own = {n.removeprefix(_OWN): t for n, t in tensors.items() if n.startswith(_OWN)}
        return Vocoding(float(tensors["speed"]), tempo, self._vocoder.restore(own))

    @torch.inference_mode()
    def step(self, mel: Float32, state: Vocoding, *, finalize: bool) -> tuple[Float32, Vocoding]:
        """Take new frames (bins, n); return the samples that are ready and the next state."""
        frames, tempo = torch.tensor(mel, device=self._device), state.tempo
        if finalize and not tempo.first and not tempo.kept.shape[1]:
            frames = stretch(frames, state.speed)
        else:
            frames, tempo = stretch_step(frames, tempo, state.speed, finalize=finalize)
        with self._stepping:
            wave, after = self._vocoder.step(frames, state.vocoder, finalize=finalize)
        ready = np.ascontiguousarray(wave.cpu().numpy(), dtype=np.float32)
        return ready, Vocoding(state.speed, tempo, after)

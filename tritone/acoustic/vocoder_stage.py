"""The vocoder as a stage: stateless, with a stream's small state going in and out as bytes."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from tritone.acoustic.channels_last import ChannelsLastFilter
from tritone.compute.device import best_dtype, torch_device
from tritone.acoustic.graphed_filter import SEEN, GraphedFilter
from tritone.acoustic.stretch import StretchState, stretch, stretch_step
from tritone.arrays import Float32
from tritone.families.cosyvoice2.vocoder import Vocoder, VocoderState
from tritone.loading.steps import step

StateT = TypeVar("StateT", StretchState, VocoderState)

WARM_UP_FRAMES = (24, 26, 50, 50)  # as a stream begins: see Settings.first_frames


@dataclass(frozen=True)
class Vocoding:
    """A stream between two calls: its tempo and the state of both steps."""

    speed: float
    tempo: StretchState
    vocoder: VocoderState

    def to_bytes(self) -> bytes:
        """Named tensors in safetensors form, some tens of kilobytes."""
        numbers = [self.tempo.first, self.tempo.produced]
        numbers += [self.vocoder.first, self.vocoder.emitted]
        tensors = {
            "kept": self.tempo.kept,
            "mel": self.vocoder.mel,
            "f0": self.vocoder.f0,
            "turns": self.vocoder.turns,
            "tail": self.vocoder.tail,
            "numbers": torch.tensor(numbers),
            "seed": torch.from_numpy(np.array([self.vocoder.seed], dtype=np.uint64).view(np.int64)),
            "speed": torch.tensor([self.speed], dtype=torch.float64),
        }
        packed: bytes = save({name: t.cpu().contiguous() for name, t in tensors.items()})
        return packed

    def to(self, device: torch.device) -> "Vocoding":
        """The same state with its tensors on a device."""
        return Vocoding(self.speed, _moved(self.tempo, device), _moved(self.vocoder, device))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Vocoding":
        tensors = load(data)
        first, produced, window_first, emitted = tensors["numbers"].tolist()
        return cls(
            speed=float(tensors["speed"]),
            tempo=StretchState(tensors["kept"], first, produced),
            vocoder=VocoderState(
                mel=tensors["mel"],
                f0=tensors["f0"],
                turns=tensors["turns"],
                tail=tensors["tail"],
                first=window_first,
                emitted=emitted,
                seed=int(tensors["seed"].numpy().view(np.uint64)[0]),
            ),
        )


class VocoderStage:
    """Starts and steps streams of one vocoder. Safe to use from several threads.

    device: "cpu", "cuda" or "cuda:N"; raises EnvironmentProblem where that cannot be used. plans:
    the model directory whose TensorRT plan, built in `dtype`, runs the network. dtype: of the
    network on a CPU or in a plan, None for `best_dtype`; without a plan it is float32 on a GPU.
    Pitch and source are float32 everywhere.
    """

    def __init__(
        self,
        vocoder: Vocoder,
        device: str = "cpu",
        *,
        plans: Path | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._device = torch_device(device)
        dtype = dtype or best_dtype(self._device, vocoder.config.base_channels // 2)
        with step("vocoder placement"):
            self._vocoder = vocoder.to(self._device)
            vocoder.filter = self._filter(vocoder, plans, dtype)
        self._stepping = threading.Lock() if self._device.type == "cuda" else nullcontext()

    def _filter(
        self, vocoder: Vocoder, plans: Path | None, dtype: torch.dtype
    ) -> Callable[[Tensor, Tensor], Tensor]:
        if plans:
            # only what runs on plans needs what builds and checks them
            from tritone.engines.served_plans import plan_filter

            with step("vocoder plan"):
                return plan_filter(plans, dtype, self._device)
        if self._device.type == "cuda":
            return GraphedFilter(vocoder.network)
        return ChannelsLastFilter(vocoder.network, dtype)

    def warm_up(self) -> None:
        """Decode a short stream: the first calls of an operator with a new length are slow."""
        with step("vocoder warm-up"):
            for _ in range(1 if self._device.type == "cpu" else SEEN):
                state = self.start(seed=0, speed=1.0)
                for frames in WARM_UP_FRAMES:
                    mel = np.zeros((self._vocoder.config.in_channels, frames), np.float32)
                    _, state = self.step(mel, state, finalize=False)

    @torch.inference_mode()
    def start(self, *, seed: int, speed: float) -> Vocoding:
        state = self._vocoder.start(seed)
        return Vocoding(speed, StretchState(state.mel), state)

    @torch.inference_mode()
    def step(self, mel: Float32, state: Vocoding, *, finalize: bool) -> tuple[Float32, Vocoding]:
        """Take new frames (mel, n); return the samples that are ready and the next state."""
        state = state.to(self._device)
        frames, tempo = torch.tensor(mel, device=self._device), state.tempo
        if finalize and not tempo.first and not tempo.kept.shape[1]:
            frames = stretch(frames, state.speed)
        else:
            frames, tempo = stretch_step(frames, tempo, state.speed, finalize=finalize)
        with self._stepping:
            wave, vocoder = self._vocoder.step(frames, state.vocoder, finalize=finalize)
        ready = np.ascontiguousarray(wave.cpu().numpy(), dtype=np.float32)
        return ready, Vocoding(state.speed, tempo, vocoder)


def _moved(state: StateT, device: torch.device) -> StateT:
    values = {field.name: getattr(state, field.name) for field in fields(state)}
    tensors: dict[str, Any] = {
        name: value.to(device) for name, value in values.items() if isinstance(value, torch.Tensor)
    }
    return replace(state, **tensors)

"""The vocoder as a stage: stateless, with a stream's small state going in and out as bytes."""

from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load, save

from tritone.nn.stretch import StretchState, stretch, stretch_step
from tritone.nn.vocoder import Vocoder, VocoderState
from tritone.types import Float32

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
        packed: bytes = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        return packed

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
    """Starts and steps streams of one vocoder. Safe to use from several threads."""

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder

    def warm_up(self) -> None:
        """Decode a short stream: the first call of an operator with a new length is slow."""
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
        frames, tempo = torch.tensor(mel), state.tempo
        if finalize and not tempo.first and not tempo.kept.shape[1]:
            frames = stretch(frames, state.speed)
        else:
            frames, tempo = stretch_step(frames, tempo, state.speed, finalize=finalize)
        wave, vocoder = self._vocoder.step(frames, state.vocoder, finalize=finalize)
        ready = np.ascontiguousarray(wave.numpy(), dtype=np.float32)
        return ready, Vocoding(state.speed, tempo, vocoder)

"""The vocoder as a stage: stateless, with a stream's small state going in and out as bytes.

It stretches the mel to the tempo that is asked for, by linear interpolation along time.
"""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.acoustic.unwanted import check_wanted
from tritone.arrays import Float32
from tritone.compute import on_device, recording
from tritone.errors import InvalidRequest
from tritone.loading.steps import step

MOST_FRAMES = 15_000  # of a call: minutes of speech, and memory goes with them
_LONGEST = 200  # frames that the network takes at once: more cost memory, and are no cheaper
_WARM, _HOPS = 50, range(10, 101, 10)  # frames of a stream on its way, and of its next call
_OWN = "vocoder."  # before the names of the vocoder's own tensors, among those of a stream


@dataclass(frozen=True)
class StretchState:
    """kept (mel, n): frames from index `first` on that later output still needs.

    produced: output frames so far.
    """

    kept: Tensor
    first: int = 0
    produced: int = 0


def stretch(mel: Tensor, speed: float) -> Tensor:
    """A whole mel (mel, T) at another tempo: int(T / speed) frames."""
    if speed == 1.0:
        return mel
    frames = int(mel.shape[1] / speed)
    if not frames:
        return mel[:, :0]
    return F.interpolate(mel[None], size=frames, mode="linear")[0]


def stretch_step(
    mel: Tensor, state: StretchState, speed: float, *, finalize: bool
) -> tuple[Tensor, StretchState]:
    """The next frames (mel, n) at another tempo; returns what is ready and the new state.

    Output frame j stands at input frame (j + 0.5) * speed - 0.5, where `stretch` puts it up to the
    rounding of the total length, which a stream does not know.
    """
    if speed == 1.0:
        return mel, state
    kept = torch.cat([state.kept, mel], dim=1)
    end = state.first + kept.shape[1]
    total = int(end / speed) if finalize else max(0, int((end - 0.5) / speed - 0.5))
    index = torch.arange(state.produced, max(total, state.produced), device=mel.device)
    place = ((index + 0.5) * speed - 0.5).clamp(0, end - 1)
    left = place.floor().long()
    right = (left + 1).clamp(max=end - 1)
    weight = (place - left).to(mel.dtype)
    out = kept[:, left - state.first] * (1 - weight) + kept[:, right - state.first] * weight
    produced = state.produced + len(index)
    needed = max(state.first, min(end, int(max(0.0, (produced + 0.5) * speed - 0.5))))
    return out, StretchState(kept[:, needed - state.first :], needed, produced)


def whole_numbers(tensor: Tensor, count: int) -> list[int]:
    """So many integers, none below zero; raises ValueError."""
    numbers = tensor.tolist()
    if tensor.dtype != torch.int64 or tensor.shape != (count,) or min(numbers) < 0:
        raise ValueError(f"{numbers!r:.80} are not {count} counts")
    return list(numbers)


def check_values(name: str, tensor: Tensor, *shape: int | range) -> None:
    """Raise ValueError for another shape, of sizes or ranges of them, and for what is no number."""
    sizes = [size if isinstance(size, range) else range(size, size + 1) for size in shape]
    fits = len(sizes) == tensor.dim() and all(map(range.__contains__, sizes, tensor.shape))
    if not (fits and tensor.is_floating_point() and tensor.isfinite().all()):
        raise ValueError(f"{name} has shape {list(tensor.shape)} or values that are not finite")


def _check(tempo: StretchState, speed: float, bins: int) -> None:
    """Raise ValueError for a state that stretching cannot come to."""
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"its speed is {speed}")
    check_values("kept", tempo.kept, bins, range(MOST_FRAMES + 1))
    if tempo.first > max(0.0, (tempo.produced + 0.5) * speed - 0.5):
        raise ValueError(f"{tempo.produced} frames do not come of {tempo.first}")


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

    def restore(self, tensors: Mapping[str, Tensor]) -> StateT:
        """A state from what its `to_tensors` gave, on any device; any error for other tensors."""


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
        return save({name: t.cpu().contiguous() for name, t in tensors.items()})  # type: ignore[no-any-return]


class VocoderStage:
    """Starts and steps streams of one vocoder. Safe to use from several threads.

    exact: the same frames give the same samples, to the last bit, whatever calls they come in.
    """

    def __init__(self, vocoder: StreamingVocoder[Any], *, exact: bool = False) -> None:
        self._exact = exact
        self._vocoder, self._device, self.bins = vocoder, vocoder.device, vocoder.bins
        self._turns = threading.Lock() if self._device.type == "cuda" else nullcontext()

    def warm_up(self) -> None:
        """Decode short streams: the first calls of an operator with a new length are slow, and on a
        GPU the windows of these streams are those that have graphs."""
        streams = [self._vocoder.warm_up_frames]
        if self._device.type != "cpu":
            streams += [(_WARM, frames) for frames in _HOPS]
        with step("vocoder warm-up"), recording():
            for hops in streams:
                state = self.start(seed=0, speed=1.0)
                for frames in hops:
                    mel = np.zeros((self.bins, frames), np.float32)
                    _, state = self.step(mel, state, finalize=False)

    @torch.inference_mode()
    def start(self, *, seed: int, speed: float) -> Vocoding:
        """Raises InvalidRequest for a speed that vocoders are not made for."""
        if not SLOWEST <= speed <= FASTEST:
            raise InvalidRequest("speed", f"is {speed}; the limits are {SLOWEST} and {FASTEST}")
        nothing = torch.zeros(self.bins, 0, device=self._device)
        return Vocoding(speed, StretchState(nothing), self._vocoder.start(seed))

    def unpack(self, data: bytes) -> Vocoding:
        """The way back from `Vocoding.to_bytes`; InvalidRequest for what that cannot give."""
        try:
            tensors = load(data)
            first, produced = whole_numbers(tensors["numbers"], 2)
            speed = float(tensors["speed"])
            tempo = StretchState(tensors["kept"].to(self._device), first, produced)
            _check(tempo, speed, self.bins)
            own = {n.removeprefix(_OWN): t for n, t in tensors.items() if n.startswith(_OWN)}
            return Vocoding(speed, tempo, self._vocoder.restore(own))
        except Exception as error:  # of the library that reads the tensors, or of the family
            raise InvalidRequest("state", f"is none that this vocoder gave: {error}") from error

    @torch.inference_mode()
    def step(
        self, mel: Float32, state: Vocoding, *, cuts: Sequence[int] = (), finalize: bool
    ) -> tuple[Float32, Vocoding]:
        """Take new frames (bins, n); return the samples that are ready and the next state.

        cuts: rising, within 1..n-1: where an exact vocoder makes several calls of it.

        Raises InvalidRequest for more than MOST_FRAMES, for frames that are not finite, and for
        other cuts.
        """
        edges = [0, *cuts, mel.shape[1]]
        if cuts and any(a >= b for a, b in itertools.pairwise(edges)):
            raise InvalidRequest(
                "cuts", f"are {list(cuts)[:9]} of {mel.shape[1]} frames, not rising"
            )
        if not (cuts and self._exact):
            return self._step(mel, state, finalize=finalize)
        waves = []
        for begin, end in itertools.pairwise(edges):
            last = finalize and end == edges[-1]
            wave, state = self._step(mel[:, begin:end], state, finalize=last)
            waves.append(wave)
        return np.concatenate(waves), state

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Alone with the vocoder, on its device."""
        with self._turns, on_device(self._device):
            yield

    def _step(self, mel: Float32, state: Vocoding, *, finalize: bool) -> tuple[Float32, Vocoding]:
        if mel.shape[1] > MOST_FRAMES:
            raise InvalidRequest("frames", f"are {mel.shape[1]}; at most {MOST_FRAMES} in a call")
        if not np.isfinite(mel).all():
            raise InvalidRequest("frames", "have values that are NaN or infinite")
        frames, tempo = torch.tensor(mel, device=self._device), state.tempo
        if finalize and not tempo.first and not tempo.kept.shape[1]:
            frames = stretch(frames, state.speed)
        else:
            frames, tempo = stretch_step(frames, tempo, state.speed, finalize=finalize)
        waves, after = [], state.vocoder
        with self._stepping():
            for begin in range(0, max(1, frames.shape[1]), _LONGEST):
                check_wanted()
                part = frames[:, begin : begin + _LONGEST]
                last = finalize and begin + _LONGEST >= frames.shape[1]
                wave, after = self._vocoder.step(part, after, finalize=last)
                waves.append(wave.cpu())
        ready = np.ascontiguousarray(torch.cat(waves).numpy(), dtype=np.float32)
        return ready, Vocoding(state.speed, tempo, after)

"""The flow as a stage: voices prepared once and shared, numpy in and out, on a CPU or a GPU."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tritone.acoustic.placement import FlowSettings
from tritone.acoustic.solver import StreamState
from tritone.acoustic.unwanted import ending_when, never
from tritone.arrays import Float32
from tritone.compute import on_device
from tritone.errors import Cancelled, InvalidRequest, Overloaded, TritoneError
from tritone.llm.contract import Increment
from tritone.loading.steps import step
from tritone.voice import Voice, digest


@dataclass(frozen=True)
class StageStep:
    """New codes of one stream; `finalize` when they are its last. unwanted: whether nobody waits
    for its frames any more."""

    increment: Increment
    state: StreamState
    finalize: bool
    unwanted: Callable[[], bool] = never


class StreamingFlow(Protocol):
    """A family's flow: codes to frames in a voice, for streams with values for states, its own.

    bins: of a frame. It copies the arrays that it is given: a prepared voice outlives its request,
    whose arrays may be a server's memory.
    """

    bins: int

    def record_graphs(self) -> None:
        """CUDA graphs of its steps, where it uses any; once, before the first request."""

    def in_use(self, state: StreamState) -> bool:
        """Whether streams that live share what the state of their voice holds; False where that
        is memory of which there is always more."""

    def example(self) -> tuple[Voice, Increment]:
        """A voice without a prompt, and the codes of one chunk."""

    def start(self, voice: Voice) -> StreamState:
        """The state after what depends on the voice alone, which each of its streams forks.

        Raises InvalidRequest for a voice of other shapes, and Overloaded when there is no room.
        """

    def check(self, increment: Increment, state: StreamState) -> None:
        """Raises InvalidRequest for codes that there are not, and for more than a stream takes."""

    def step_all(
        self, steps: Sequence[StageStep]
    ) -> Sequence[tuple[Tensor, StreamState] | TritoneError]:
        """The frames (bins, n) of each stream that became final, and its next state.

        The steps were checked. An error stands in the place of its stream.
        """

    def whole(self, increment: Increment, voice: Voice) -> Tensor:
        """The frames of all codes of an utterance in one pass with full attention.

        Raises InvalidRequest for what `check` and `start` refuse, and without codes.
        """


class FlowStage:
    """Opens and steps streams of one flow. Safe to use from several threads."""

    def __init__(self, flow: StreamingFlow, settings: FlowSettings) -> None:
        self.flow, self.bins, self._settings = flow, flow.bins, settings
        self._prepared: OrderedDict[bytes, StreamState] = OrderedDict()
        self._lock = threading.Lock()  # of the prepared voices
        # streams of a pool share its buffers
        self._turns = threading.Lock() if settings.pool else nullcontext()
        self._device = torch.device(settings.device)

    def warm_up(self) -> None:
        """Compute one chunk: the first call of every operator is several times slower."""
        with step("flow warm-up"):
            voice, increment = self.flow.example()
            self.step(increment, self.open(voice), finalize=False)
            with self._stepping():
                self.flow.record_graphs()

    @torch.inference_mode()
    def open(self, voice: Voice) -> StreamState:
        """A new stream in a voice; the prompt's part is computed once per voice and shared.

        Raises Overloaded when there is no room even without the voices that no stream uses.
        """
        key = digest(voice.to_arrays())
        with self._lock, self._stepping():
            while True:
                try:
                    return self._forked(key, voice)
                except Overloaded:
                    if not self._give_up_unused(key):
                        raise

    def _give_up_unused(self, wanted: bytes) -> bool:
        """Of the other prepared voices the one that no stream uses and was opened longest ago: what
        is shared with a stream would be free only once that ends."""
        for key, state in self._prepared.items():
            if key != wanted and not self.flow.in_use(state):
                del self._prepared[key]
                return True
        return False

    def _forked(self, key: bytes, voice: Voice) -> StreamState:
        state = self._prepared.get(key)
        if state is None:
            state = self._prepared[key] = self.flow.start(voice)
        self._prepared.move_to_end(key)
        while not self._settings.keeps([kept.nbytes for kept in self._prepared.values()]):
            self._prepared.popitem(last=False)
        return state.fork()

    def step(
        self, increment: Increment, state: StreamState, *, finalize: bool
    ) -> tuple[Float32, StreamState]:
        """Take new codes; return the frames (bins, n) that became final and the next state."""
        (result,) = self.step_all([StageStep(increment, state, finalize)])
        try:
            if isinstance(result, TritoneError):
                raise result
            return result
        finally:
            del result  # an error knows this frame

    @torch.inference_mode()
    def step_all(
        self, steps: Sequence[StageStep]
    ) -> list[tuple[Float32, StreamState] | TritoneError]:
        """`step` for several streams together; a stream's error stands in its own place, Cancelled
        for one that nobody wants before it has begun.

        After frames that are not finite all voices are prepared anew: a state that one of them
        shares with its streams may be what is wrong. Once none of the streams is wanted any more
        all end with Cancelled, in the middle of their steps, and their states are worth nothing.
        """
        refused = [self._refused(step) for step in steps]
        good = [step for step, error in zip(steps, refused, strict=True) if error is None]
        with self._stepping():
            stepped = iter(self._solved(good))
            raw = [error or next(stepped) for error in refused]
            results = [r if isinstance(r, TritoneError) else (_as_numpy(r[0]), r[1]) for r in raw]
        if not all(isinstance(r, TritoneError) or np.isfinite(r[0]).all() for r in results):
            with self._lock, self._stepping():
                self._prepared.clear()
        return results

    def _solved(
        self, steps: Sequence[StageStep]
    ) -> Sequence[tuple[Tensor, StreamState] | TritoneError]:
        try:
            with ending_when(lambda: all(step.unwanted() for step in steps)):
                return self.flow.step_all(steps)
        except Cancelled:
            return [Cancelled() for _ in steps]

    @torch.inference_mode()
    def whole(
        self, increment: Increment, voice: Voice, unwanted: Callable[[], bool] = never
    ) -> Float32:
        """See `StreamingFlow.whole`. Raises Cancelled once it is not wanted any more."""
        with on_device(self._device), ending_when(unwanted):
            return _as_numpy(self.flow.whole(increment, voice))

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        """Alone with what streams share, on the device."""
        with self._turns, on_device(self._device):
            yield

    def _refused(self, step: StageStep) -> TritoneError | None:
        try:
            self.flow.check(step.increment, step.state)
        except InvalidRequest as error:
            return error.with_traceback(None)  # whose frames know the states
        return Cancelled() if step.unwanted() else None


def _as_numpy(mel: Tensor) -> Float32:
    return np.ascontiguousarray(mel.cpu().numpy(), dtype=np.float32)

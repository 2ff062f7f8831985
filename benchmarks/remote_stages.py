"""Language model, flow and vocoder as stages of other processes, and what the pipeline calls.

They do there what the models of a server do: the flow takes the steps of all streams that wait
together, and what the language model gives leaves in the same portions.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.stage_processes import Answer, Call, Send, StageProcess, failed
from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.llm.contract import Generation, GenerationRequest, Increment, LanguageModel, MoreText
from tritone.llm.portions import Portions
from tritone.synthesis.rules import Cuts
from tritone.voice import Voice


class LanguageModelServed:
    """submit: a GenerationRequest; its answers are increments, then None. cancel: its number.
    extend: its number, and more text."""

    together = 1

    def __init__(self, model: LanguageModel, rate: float) -> None:
        """rate: tokens in a second of speech."""
        self._model, self._rate = model, rate
        self._running: dict[int, Generation] = {}

    def take(self, calls: list[Call], send: Send) -> None:
        for call in calls:
            if call.name == "cancel":
                if running := self._running.get(call.given):
                    running.cancel()
                continue
            if call.name == "extend":
                number, more = call.given
                if running := self._running.get(number):
                    running.extend(more)
                continue
            try:
                self._running[call.number] = self._model.submit(call.given)
            except Exception as error:
                send(failed(call, error))
                continue
            threading.Thread(target=self._speak, args=(call, send), daemon=True).start()

    def _speak(self, call: Call, send: Send) -> None:
        portions = Portions(self._rate)
        try:
            for increment in self._running[call.number]:
                send(Answer(call.number, increment))
                time.sleep(portions.pause(len(increment)))
            send(Answer(call.number))
        except Exception as error:
            send(failed(call, error))
        finally:
            del self._running[call.number]

    def close(self) -> None:
        self._model.close()


class FlowServed:
    """open: a stream and its voice. step: a stream, its new codes, and whether they are the last.
    close: a stream. together: as max_batch_size of token2wav."""

    together = 16

    def __init__(self, stage: FlowStage) -> None:
        self._stage = stage
        self._states: dict[int, Any] = {}

    def take(self, calls: list[Call], send: Send) -> None:
        steps = [call for call in calls if call.name == "step"]
        for call in calls:
            if call.name == "open":
                self._open(call, send)
        self._step(steps, send)
        for call in calls:
            if call.name == "close":
                self._states.pop(call.given, None)

    def _open(self, call: Call, send: Send) -> None:
        stream, voice = call.given
        try:
            self._states[stream] = self._stage.open(voice)
            send(Answer(call.number))
        except Exception as error:
            send(failed(call, error))

    def _step(self, calls: list[Call], send: Send) -> None:
        results: list[Any]
        try:
            taken = [
                StageStep(codes, self._states.pop(stream), last)
                for stream, codes, last in (call.given for call in calls)
            ]
            results = list(self._stage.step_all(taken)) if taken else []
        except Exception as error:  # of all: none has a result
            results = [error] * len(calls)
        for call, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                send(failed(call, result))
                continue
            frames, self._states[call.given[0]] = result
            send(Answer(call.number, frames))

    def close(self) -> None:
        self._states.clear()


class VocoderServed:
    """step: a state, or the seed and speed of a stream that begins; frames, cuts, and whether they
    are the last. The answer is samples and the next state."""

    together = 1

    def __init__(self, stage: VocoderStage) -> None:
        self._stage = stage

    def take(self, calls: list[Call], send: Send) -> None:
        for call in calls:
            carried, frames, cuts, last = call.given
            try:
                if isinstance(carried, bytes):
                    state = self._stage.unpack(carried)
                else:
                    state = self._stage.start(seed=carried[0], speed=carried[1])
                wave, state = self._stage.step(frames, state, cuts=cuts, finalize=last)
                send(Answer(call.number, (wave, state.to_bytes())))
            except Exception as error:
                send(failed(call, error))

    def close(self) -> None:
        pass


class RemoteLanguageModel:
    """`contract.LanguageModel` on a LanguageModelServed."""

    def __init__(self, process: StageProcess) -> None:
        self._process = process

    def submit(self, request: GenerationRequest) -> "RemoteGeneration":
        return RemoteGeneration(self._process, request)

    def close(self) -> None:
        self._process.close()


class RemoteGeneration:
    def __init__(self, process: StageProcess, request: GenerationRequest) -> None:
        self._process, self._number = process, process.number()
        process.begin(self._number, "submit", request)

    def __iter__(self) -> Iterator[Increment]:
        try:
            while (part := self._process.answer(self._number)) is not None:
                yield part
        finally:
            self._process.forget(self._number)

    def cancel(self) -> None:
        self._process.tell("cancel", self._number)

    def extend(self, more: MoreText) -> None:
        self._process.tell("extend", (self._number, more))


class RemoteFlowSession:
    """`synthesis.rules.FlowSession` on a FlowServed."""

    def __init__(self, process: StageProcess, voice: Voice) -> None:
        self._process, self._stream = process, process.number()
        process.call("open", (self._stream, voice))

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        frames: Float32 = self._process.call("step", (self._stream, tokens, finalize))
        return frames

    def close(self) -> None:
        self._process.tell("close", self._stream)


class RemoteVocoderSession:
    """`synthesis.rules.VocoderSession` on a VocoderServed."""

    def __init__(self, process: StageProcess, *, seed: int, speed: float) -> None:
        self._process = process
        self._carried: bytes | tuple[int, float] = (seed, speed)

    def step(self, frames: Float32, *, cuts: Cuts = (), finalize: bool) -> Float32:
        wave: Float32
        given = (self._carried, frames, tuple(cuts), finalize)
        wave, self._carried = self._process.call("step", given)
        return wave

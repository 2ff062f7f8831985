"""`pipeline.Stages` over the other models of the server (business logic scripting)."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone.arrays import Float32
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import GenerationRequest, Increment
from tritone.serving.call_gate import CallGate
from tritone.serving.generation_tensors import OUTPUTS as LLM_OUTPUTS
from tritone.serving.generation_tensors import generation_tensors, stop_tensors
from tritone.serving.replies import raise_error
from tritone.serving.request import request_tensors, text_tensors
from tritone.serving.tensors import tensor
from tritone.serving.text_block import OUTPUTS, PreparedVoice, read_block
from tritone.synthesis.text_blocks import TextBlock, in_order
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.triton_models import FLOW, FRONTEND, LANGUAGE_MODEL, VOCODER
from tritone.voice import Voice, pack

_GATE = CallGate()


def _received(replies: Any) -> Iterator[Any]:
    """The responses of a decoupled call, each waited for through the gate."""
    while True:
        with _GATE.receiving():
            reply = next(replies, None)
        if reply is None:
            return
        yield reply


def _array(reply: Any, name: str) -> Any:
    found = pb_utils.get_output_tensor_by_name(reply, name)
    return None if found is None else found.as_numpy()


def _row(name: str, values: Any, dtype: Any) -> Any:
    """A tensor with the leading batch dimension of one that batching models take."""
    return tensor(name, np.asarray(values, dtype=dtype).reshape(1, -1))


class Caller:
    """Calls the other models for one request of a client, under its id.

    Not under its trace: Triton 2.51 frees that when `execute` returns, before a decoupled model is
    done with the request, and crashes at the calls that come later.
    """

    def __init__(self, request_id: str) -> None:
        self._id = request_id

    def call(self, model: str, outputs: Sequence[str], inputs: list[Any], **more: Any) -> Any:
        """The request, not yet sent; more: as for `InferenceRequest`."""
        return pb_utils.InferenceRequest(
            model_name=model,
            requested_output_names=list(outputs),
            inputs=inputs,
            **{"request_id": self._id, **more},
        )


class TritonStages:
    """The models of this server, for one request of a client.

    voice: its family's class. bias: (vocab_size,) of `tritone.llm.checkpoint.logit_bias`, where the
    runtime needs it from the request.
    """

    def __init__(
        self,
        caller: Caller,
        language_model: SpokenConfig,
        voice: type[Voice],
        bias: Float32 | None = None,
    ) -> None:
        self._caller, self._language_model = caller, language_model
        self._voice, self._bias = voice, bias

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        """The reference recording travels once, with the first block, and so does the voice that is
        made of it; later blocks are asked for in that voice."""
        first, prepared = self._block(request_tensors(request), 0)
        assert prepared is not None, "the first block comes with its voice"

        def block_at(index: int) -> TextBlock:
            if index == 0:
                return first
            return self._block([*text_tensors(request), *prepared.inputs()], index)[0]

        return in_order(block_at, prepared.open(self._voice), prepared.cached)

    def _block(
        self, inputs: Sequence[tuple[str, Any]], index: int
    ) -> tuple[TextBlock, PreparedVoice | None]:
        tensors = [tensor(name, values) for name, values in inputs]
        tensors.append(tensor("block", np.array([index], np.int32)))
        reply = self._caller.call(FRONTEND, OUTPUTS, tensors).exec()
        raise_error(reply, FRONTEND)
        return read_block(lambda name: _array(reply, name))

    def generate(self, request: GenerationRequest) -> "TritonGeneration":
        return TritonGeneration(self._caller, request, self._language_model, self._bias)

    def open_flow(self, voice: Voice, *, streaming: bool) -> "TritonFlowSession":
        return TritonFlowSession(self._caller, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> "TritonVocoderSession":
        return TritonVocoderSession(self._caller, seed, speed)


class TritonGeneration:
    """One generation of the model `tensorrt_llm`."""

    def __init__(
        self,
        caller: Caller,
        request: GenerationRequest,
        config: SpokenConfig,
        bias: Float32 | None,
    ) -> None:
        self._caller = caller
        # NVIDIA's backend reads leading digits of an id as its number: "3f" and "3a" would be one
        self._id = str(secrets.randbits(63) | 1)
        self._stop_ids = config.llm.stop_ids
        self._ended = False
        call = self._call(generation_tensors(request, config, bias))
        with _GATE.starting():
            self._replies = call.exec(decoupled=True)

    def __iter__(self) -> Iterator[Increment]:
        for reply in _received(self._replies):
            if reply.has_error():
                self._ended = True
            raise_error(reply, LANGUAGE_MODEL)
            ids = _array(reply, "output_ids")
            if ids is None:
                continue
            ids = ids.reshape(-1)
            ids = ids[(ids >= 0) & ~np.isin(ids, self._stop_ids)]
            if ids.size:
                yield Increment(ids.astype(np.int32))
        self._ended = True

    def cancel(self) -> None:
        """Stop the generation: a `stop` request under the same id, which every runtime knows."""
        if self._ended:
            return
        self._ended = True
        call = self._call(stop_tensors())
        with _GATE.starting():
            replies = call.exec(decoupled=True)
        for _ in _received(replies):
            pass

    def _call(self, inputs: Mapping[str, Any]) -> Any:
        tensors = [tensor(name, values) for name, values in inputs.items()]
        return self._caller.call(LANGUAGE_MODEL, LLM_OUTPUTS, tensors, request_id=self._id)


class TritonFlowSession:
    """One sequence of the model `token2wav`; its state lives in that model until END."""

    def __init__(self, caller: Caller, voice: Voice, *, streaming: bool) -> None:
        self._caller = caller
        self._sequence = secrets.randbits(63) | 1  # zero is no correlation id
        self._open = False
        packed = np.frombuffer(pack(voice.to_arrays()), np.uint8)
        self._prompt = [_row("prompt_voice", packed, np.uint8)]
        self._prompt.append(_row("streaming", [streaming], np.bool_))
        if streaming:
            self._call([], finalize=False)  # prepares the voice while the language model runs

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        inputs = []
        if len(tokens):
            inputs.append(_row("target_speech_tokens", tokens.ids, np.int32))
            if tokens.latents is not None:
                inputs.append(tensor("target_latents", tokens.latents[None]))
        frames = self._call(inputs, finalize=finalize)
        return np.zeros((0, 0), np.float32) if frames is None else frames[0]

    def close(self) -> None:
        if self._open:
            self._call([], finalize=False, drop=True)

    def _call(self, inputs: list[Any], *, finalize: bool, drop: bool = False) -> Any:
        flags = 0
        if not self._open:
            flags |= pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
            inputs = inputs + self._prompt
        self._open = not (finalize or drop)
        if not self._open:
            flags |= pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
        reply = self._caller.call(
            FLOW,
            ["frames"],
            [*inputs, _row("finalize", [finalize], np.bool_)],
            correlation_id=self._sequence,
            flags=flags,
        ).exec()
        raise_error(reply, FLOW)
        return _array(reply, "frames")


class TritonVocoderSession:
    """The model `vocoder`; it is stateless, so what a stream carries is kept here."""

    def __init__(self, caller: Caller, seed: int, speed: float) -> None:
        self._caller = caller
        self._begin = [
            tensor("seed", np.array([seed], np.uint64)),
            tensor("speed", np.array([speed], np.float32)),
        ]
        self._state: Any = None

    def step(self, frames: Float32, *, finalize: bool) -> Float32:
        carried = self._begin if self._state is None else [tensor("state", self._state)]
        given = [tensor("frames", frames)] if frames.shape[1] else []
        inputs = [*given, tensor("finalize", np.array([finalize])), *carried]
        reply = self._caller.call(VOCODER, ["waveform", "next_state"], inputs).exec()
        raise_error(reply, VOCODER)
        self._state = _array(reply, "next_state")
        wave = _array(reply, "waveform")
        return np.zeros(0, np.float32) if wave is None else wave

"""`synthesis.rules.Stages` over the other models of the server (business logic scripting)."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.llm.config import LanguageModelConfig
from tritone.llm.contract import GenerationRequest, Increment, MoreText
from tritone.serving.decoupled_call import DecoupledCall
from tritone.serving.failures import raise_error
from tritone.serving.frontend_tensors import (
    OUTPUTS,
    PreparedVoice,
    read_block,
    request_tensors,
    text_tensors,
)
from tritone.serving.generation_tensors import (
    FAILURE,
    LATENTS,
    SAID,
    extension_tensors,
    generation_tensors,
    row,
    stop_tensors,
)
from tritone.serving.generation_tensors import OUTPUTS as LLM_OUTPUTS
from tritone.serving.messages import inner_parameters, tensor
from tritone.serving.neighbours import Calls
from tritone.synthesis.rules import Cuts
from tritone.synthesis.values import Segment, SynthesisRequest, TextBlock, in_order
from tritone.triton_models import FLOW, FRONTEND, LANGUAGE_MODEL, VOCODER
from tritone.voice import Voice, pack

Tensors = Mapping[str, NDArray[Any]]
NO_TOKENS = Increment(np.zeros(0, np.int32))


def _call(calls: Calls, model: str, outputs: Sequence[str], inputs: Tensors, **more: Any) -> Any:
    """The request, not yet sent; more: as for `InferenceRequest`.

    Not under the trace of the client's request: Triton 2.51 frees that when `execute` returns,
    before a decoupled model is done with the request, and crashes at the calls that come later.
    """
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[tensor(name, values) for name, values in inputs.items()],
        parameters=inner_parameters(calls.place.number),
        **more,
    )


def _answer(
    calls: Calls, model: str, outputs: Sequence[str], inputs: Tensors, **more: Any
) -> Callable[[str], Any]:
    """What the model answers: an output by name, None for one that it left out."""
    with calls.to(model):
        reply = _call(calls, model, outputs, inputs, **more).exec()
    raise_error(reply, model)
    return partial(_array, reply)


def _inner(
    calls: Calls, model: str, outputs: Sequence[str], inputs: Tensors, **more: Any
) -> Callable[[str], Any]:
    """As `_answer`, of a model whose inputs no client has made: that it refuses them is no fault of
    the client."""
    try:
        return _answer(calls, model, outputs, inputs, **more)
    except InvalidRequest as error:
        raise StageFailed(model, str(error)) from error


def _array(reply: Any, name: str) -> Any:
    found = pb_utils.get_output_tensor_by_name(reply, name)
    return None if found is None else found.as_numpy()


@dataclass(frozen=True)
class TritonStages:
    """The models of this server, for one request of a client.

    request_id: theirs in all that is sent but to `tensorrt_llm`. calls: where all calls are noted.
    voice: its family's class. bias: (vocab_size,) of `tritone.llm.checkpoint.logit_bias`, where the
    runtime needs it from the request. takes_open_text: whether that can add to a prompt.
    """

    request_id: str
    calls: Calls
    language_model: LanguageModelConfig
    voice: type[Voice]
    bias: Float32 | None
    takes_open_text: bool

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        """The reference recording travels once, with the first block, and so does the voice that is
        made of it; later blocks are asked for in that voice."""
        if request.same_voice is not None:
            return self._in_voice(request, request.same_voice)
        first, prepared = self._block(request_tensors(request), 0)
        assert prepared is not None, "the first block comes with its voice"

        def block_at(index: int) -> TextBlock:
            if index == 0:
                return first
            inputs = {**text_tensors(request), **dict(prepared.inputs())}
            return self._block(inputs, index)[0]

        return in_order(block_at, prepared.open(self.voice), prepared.cached)

    def _in_voice(self, request: SynthesisRequest, voice: Voice) -> Iterator[Segment]:
        inputs = {**text_tensors(request), **dict(PreparedVoice.of(voice, True).inputs())}
        return in_order(lambda index: self._block(inputs, index)[0], voice, True)

    def _block(self, inputs: Tensors, index: int) -> tuple[TextBlock, PreparedVoice | None]:
        inputs = {**inputs, "block": np.array([index], np.int32)}
        return read_block(
            _answer(self.calls, FRONTEND, OUTPUTS, inputs, request_id=self.request_id)
        )

    def generate(self, request: GenerationRequest) -> "TritonGeneration":
        return TritonGeneration(self.calls, request, self.language_model, self.bias)

    def open_flow(self, voice: Voice, *, streaming: bool) -> "TritonFlowSession":
        return TritonFlowSession(self.calls, self.request_id, voice, streaming=streaming)

    def open_vocoder(self, *, seed: int, speed: float) -> "TritonVocoderSession":
        return TritonVocoderSession(self.calls, self.request_id, seed, speed)


class TritonGeneration:
    """One generation of the model `tensorrt_llm`."""

    def __init__(
        self,
        calls: Calls,
        request: GenerationRequest,
        config: LanguageModelConfig,
        bias: Float32 | None,
    ) -> None:
        self._calls = calls
        # NVIDIA's backend reads leading digits of an id as its number: "3f" and "3a" would be one
        self._id = str(secrets.randbits(63) | 1)
        self._stop_ids, self._open = config.llm.stop_ids, request.open_text is not None
        self._outputs = _outputs(config, ours=bias is None)
        self._ended = False
        self._replies = self._start(generation_tensors(request, config, bias))

    def __iter__(self) -> Iterator[Increment]:
        for reply in self._replies:
            try:
                raise_error(reply, LANGUAGE_MODEL)
            except TritoneError:
                self._ended = True
                raise
            ids = _array(reply, "output_ids")
            if ids is None:
                if self._open:
                    yield NO_TOKENS
                continue
            ids, said, latents = ids.reshape(-1), _array(reply, SAID), _array(reply, LATENTS)
            kept = (ids >= 0) & ~np.isin(ids, self._stop_ids)
            if kept.any():
                said = None if said is None else said.reshape(-1)[kept]
                latents = None if latents is None else latents.reshape(len(ids), -1)[kept]
                yield Increment(ids[kept].astype(np.int32), latents, said)
        self._ended = True

    def cancel(self) -> None:
        """Stop the generation: a `stop` request under the same id, which every runtime knows."""
        if self._ended or self._calls.lost(LANGUAGE_MODEL):
            return
        self._ended = True
        for _ in self._start(stop_tensors()):
            pass

    def extend(self, more: MoreText) -> None:
        if self._ended or self._calls.lost(LANGUAGE_MODEL):
            return
        for reply in self._start(extension_tensors(more)):
            raise_error(reply, LANGUAGE_MODEL)

    def _start(self, inputs: Tensors) -> DecoupledCall:
        request = _call(self._calls, LANGUAGE_MODEL, self._outputs, inputs, request_id=self._id)
        return DecoupledCall(request, self._calls, LANGUAGE_MODEL)


def _outputs(config: LanguageModelConfig, *, ours: bool) -> tuple[str, ...]:
    """What a generation is asked for. ours: not of a runtime that wants the bias, which knows
    nothing of the checkpoint's heads."""
    said = (SAID,) if ours and config.llm.text_heads else ()
    latents = (LATENTS,) if config.llm.gives_latents else ()
    return (*LLM_OUTPUTS, *((FAILURE,) if ours else ()), *said, *latents)


class TritonFlowSession:
    """One sequence of the model `token2wav`; its state lives in that model until END."""

    def __init__(self, calls: Calls, request_id: str, voice: Voice, *, streaming: bool) -> None:
        self._calls, self._request_id = calls, request_id
        self._sequence = secrets.randbits(63) | 1  # zero is no correlation id
        self._open = False
        packed = np.frombuffer(pack(voice.to_arrays()), np.uint8)
        self._prompt = {"prompt_voice": packed[None], "streaming": row([streaming], np.bool_)}
        if streaming:
            self._call({}, finalize=False)  # prepares the voice while the language model runs

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        inputs = {}
        if len(tokens):
            inputs["target_speech_tokens"] = row(tokens.ids, np.int32)
            if tokens.latents is not None:
                inputs["target_latents"] = row(tokens.latents, np.float32)
        frames = self._call(inputs, finalize=finalize)
        return np.zeros((0, 0), np.float32) if frames is None else frames[0]

    def close(self) -> None:
        if self._open and not self._calls.lost(FLOW):
            self._call({}, finalize=False, drop=True)

    def _call(self, inputs: Tensors, *, finalize: bool, drop: bool = False) -> Any:
        flags = 0
        if not self._open:
            flags |= pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
            inputs = {**inputs, **self._prompt}
        self._open = not (finalize or drop)
        if not self._open:
            flags |= pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END
        answer = _inner(
            self._calls,
            FLOW,
            ["frames"],
            {**inputs, "finalize": row([finalize], np.bool_)},
            request_id=self._request_id,
            correlation_id=self._sequence,
            flags=flags,
        )
        return answer("frames")


class TritonVocoderSession:
    """The model `vocoder`; it is stateless, so what a stream carries is kept here."""

    def __init__(self, calls: Calls, request_id: str, seed: int, speed: float) -> None:
        self._calls, self._request_id = calls, request_id
        self._carried: Tensors = {
            "seed": np.array([seed], np.uint64),
            "speed": np.array([speed], np.float32),
        }

    def step(self, frames: Float32, *, cuts: Cuts = (), finalize: bool) -> Float32:
        inputs: dict[str, NDArray[Any]] = {**self._carried, "finalize": np.array([finalize])}
        if frames.shape[1]:
            inputs["frames"] = frames.reshape(-1)
        if cuts:
            inputs["cuts"] = np.array(cuts, np.int32)
        outputs = ["waveform", "next_state"]
        answer = _inner(self._calls, VOCODER, outputs, inputs, request_id=self._request_id)
        self._carried = {"state": answer("next_state")}
        wave = answer("waveform")
        return np.zeros(0, np.float32) if wave is None else wave

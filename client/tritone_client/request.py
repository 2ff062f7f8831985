"""What to say and how, and its form on the wire."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tritonclient.grpc import service_pb2

from tritone_client.emotion import DEFAULT_RATE, Emotion

# name, Triton datatype, shape with the batch dimension, little-endian contents
_Tensor = tuple[str, str, tuple[int, int], bytes]


@dataclass(frozen=True)
class Utterance:
    """One text to speak. None everywhere means the server's own default.

    reference_wav: (N,) mono samples in [-1, 1] at reference_rate Hz, the voice to speak with.
    reference_length: samples of reference_wav that are speech; the rest is padding. None: all.
    reference_text: what the reference says. Without it the voice is copied across languages.
    instruct_text: how to speak, in words.
    voice: id of a voice registered with the server, in place of a reference.
    speed: 0.5 to 2.0.
    streaming: False asks for the whole utterance in one packet.
    emotion: other than the voice's own, for models that have emotions.
    """

    text: str
    reference_wav: NDArray[np.float32] | None = None
    reference_rate: int = DEFAULT_RATE
    reference_length: int | None = None
    reference_text: str | None = None
    instruct_text: str | None = None
    voice: str | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    speed: float | None = None
    streaming: bool = True
    emotion: Emotion | None = None

    def __post_init__(self) -> None:
        wav = self.reference_wav
        if wav is None:
            return
        if wav.ndim != 1 or wav.size == 0:
            advice = "give mono samples, (N,) with N >= 1"
            raise ValueError(f"reference_wav: shape {wav.shape}; {advice}")
        if self.reference_length is not None and not 0 < self.reference_length <= wav.size:
            raise ValueError(f"reference_length: {self.reference_length}; it must be 1..{wav.size}")


def pad_reference(utterance: Utterance, seconds: float) -> Utterance:
    """The same with its reference zero-padded to a multiple of `seconds`; its length is kept.

    Few distinct lengths let a server with compiled shapes reuse its plans.
    """
    if utterance.reference_wav is None:
        return utterance
    size = utterance.reference_wav.size
    padding = -size % max(1, round(seconds * utterance.reference_rate))
    return replace(
        utterance,
        reference_wav=np.pad(utterance.reference_wav, (0, padding)),
        reference_length=utterance.reference_length or size,
    )


def infer_request(
    utterance: Utterance, model: str, request_id: str = "", timing: bool = False
) -> service_pb2.ModelInferRequest:
    """The KServe message for `model`: `waveform` (and `timing`) and an empty final response."""
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    for name, datatype, shape, contents in _tensors(utterance):
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(contents)
    request.outputs.add(name="waveform")
    if timing:
        request.outputs.add(name="timing")
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    return request


def voices_request(model: str) -> service_pb2.ModelInferRequest:
    """The KServe message that asks `model` for its registered voices; nothing is spoken."""
    request = service_pb2.ModelInferRequest(model_name=model)
    name, datatype, shape, contents = _text("target_text", "")
    request.inputs.add(name=name, datatype=datatype, shape=shape)
    request.raw_input_contents.append(contents)
    request.outputs.add(name="voices")
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    return request


def _tensors(utterance: Utterance) -> Iterator[_Tensor]:
    """The inputs; what has its default is left out, so that servers without the input work too."""
    yield _text("target_text", utterance.text)
    if utterance.reference_wav is not None:
        length = utterance.reference_length or utterance.reference_wav.size
        yield _array("reference_wav", utterance.reference_wav)
        yield _scalar("reference_wav_len", "INT32", "<i", length)
        if utterance.reference_rate != DEFAULT_RATE:
            yield _scalar("reference_sample_rate", "INT32", "<i", utterance.reference_rate)
    for name in ("reference_text", "instruct_text", "voice"):
        text = getattr(utterance, name)
        if text is not None:
            yield _text(name, text)
    layouts = {"seed": ("UINT64", "<Q"), "top_k": ("INT32", "<i")}
    for name in ("seed", "temperature", "top_p", "top_k", "speed"):
        value = getattr(utterance, name)
        if value is not None:
            yield _scalar(name, *layouts.get(name, ("FP32", "<f")), value)
    if not utterance.streaming:
        yield _scalar("streaming", "BOOL", "<?", False)
    if utterance.emotion is not None:
        yield from _emotion_tensors(utterance.emotion)


def _emotion_tensors(emotion: Emotion) -> Iterator[_Tensor]:
    if emotion.vector is not None:
        yield _array("emotion_vector", emotion.vector)
    if emotion.wav is not None:
        yield _array("emotion_wav", emotion.wav)
        if emotion.rate != DEFAULT_RATE:
            yield _scalar("emotion_sample_rate", "INT32", "<i", emotion.rate)
    if emotion.text is not None:
        yield _text("emotion_text", emotion.text)
    if emotion.weight is not None:
        yield _scalar("emotion_weight", "FP32", "<f", emotion.weight)


def _array(name: str, values: ArrayLike) -> _Tensor:
    try:
        floats = np.asarray(values, "<f4")
    except OverflowError as error:
        raise ValueError(f"{name}: has a value that does not fit FP32 ({error})") from error
    return name, "FP32", (1, floats.size), floats.tobytes()


def _text(name: str, text: str) -> _Tensor:
    try:
        contents = text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: has half of a surrogate pair at {error.start}") from error
    return name, "BYTES", (1, 1), struct.pack("<I", len(contents)) + contents


def _scalar(name: str, datatype: str, layout: str, value: float) -> _Tensor:
    try:
        return name, datatype, (1, 1), struct.pack(layout, value)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{name}: {value} does not fit {datatype} ({error})") from error

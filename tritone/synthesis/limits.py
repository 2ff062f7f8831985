"""Which requests are served: the limits of a deployment and the check of one request."""

import re
from dataclasses import dataclass

import numpy as np

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.llm.contract import SamplingParams
from tritone.synthesis.values import Emotion, SynthesisRequest

MAX_SEED = 2**64 - 1
_INVALID = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, all inclusive unless said otherwise.

    Lengths of text in characters, of audio in seconds, rates in Hz. peak: largest absolute sample;
    audio above it is integer PCM that was not scaled, and below silence there is nothing to follow.
    temperature is greater than 0. emotion: share of one.
    """

    max_text_characters: int = 20_000
    max_reference_text_characters: int = 1000
    max_instruct_characters: int = 500
    max_emotion_characters: int = 1000
    min_reference_seconds: float = 0.3
    max_reference_seconds: float = 30.0
    min_reference_rate: int = 8000
    max_reference_rate: int = 192000
    peak: float = 4.0
    silence: float = 1e-4
    min_speed: float = SLOWEST
    max_speed: float = FASTEST
    max_temperature: float = 2.0
    max_emotion: float = 1.2
    max_top_k: int = 10_000


DEFAULT_LIMITS = Limits()


def check(
    request: SynthesisRequest, limits: Limits = DEFAULT_LIMITS, *, text_follows: bool = False
) -> None:
    """Raise InvalidRequest for the first thing that is wrong; its field is the wire name.

    text_follows: there need be none yet.

    A blank reference_text, instruct_text or voice counts as absent.
    """
    check_text("target_text", request.text, limits.max_text_characters)
    check_text("reference_text", request.reference_text, limits.max_reference_text_characters)
    check_text("instruct_text", request.instruct_text, limits.max_instruct_characters)
    if not (text_follows or request.text.strip()):
        raise InvalidRequest("target_text", "is empty; give at least one word to speak")
    if request.reference_wav is not None:
        if is_given(request.voice):
            raise InvalidRequest(
                "voice", "cannot be combined with reference_wav; send only one of them"
            )
        _check_recording("reference", request.reference_wav, request.reference_rate, limits)
    elif is_given(request.reference_text):
        raise InvalidRequest("reference_text", "needs reference_wav, the audio that it transcribes")
    _check_range("speed", request.speed, limits.min_speed, limits.max_speed)
    _check_sampling(request.sampling, limits)
    if request.emotion is not None:
        _check_emotion(request.emotion, limits)


def is_given(text: str | None) -> bool:
    """Whether an optional text says anything: clients may send a field and leave it blank."""
    return text is not None and bool(text.strip())


def check_text(field: str, text: str | None, longest: int) -> None:
    """Raise InvalidRequest for a text that is too long, or holds what is no text."""
    text = text or ""
    if len(text) > longest:
        raise InvalidRequest(field, f"has {len(text)} characters; the limit is {longest}")
    if bad := _INVALID.search(text):
        name = "a NUL character" if bad[0] == "\0" else "half of a surrogate pair"
        raise InvalidRequest(field, f"has {name} at {bad.start()}; send valid UTF-8 text")


def _check_emotion(emotion: Emotion, limits: Limits) -> None:
    _check_range("emotion_weight", emotion.weight, 0, 1)
    first, *others = emotion.given or ("",)
    if not first:
        raise InvalidRequest("emotion_weight", "needs emotion_vector, emotion_wav or emotion_text")
    if others:
        raise InvalidRequest(
            first, f"cannot be combined with {' and '.join(others)}; send only one of them"
        )
    if emotion.vector is not None and not len(emotion.vector):
        raise InvalidRequest("emotion_vector", "has 0 values; give one for each of the emotions")
    for share in emotion.vector if emotion.vector is not None else ():
        _check_range("emotion_vector", share, 0, limits.max_emotion)
    if emotion.wav is not None:
        _check_recording("emotion", emotion.wav, emotion.rate, limits)
    check_text("emotion_text", emotion.text, limits.max_emotion_characters)


def _check_recording(kind: str, wav: Float32, rate: int, limits: Limits) -> None:
    field = f"{kind}_wav"
    if not limits.min_reference_rate <= rate <= limits.max_reference_rate:
        raise InvalidRequest(
            f"{kind}_sample_rate",
            f"is {rate} Hz; the limits are {limits.min_reference_rate} and "
            f"{limits.max_reference_rate} Hz",
        )
    if wav.ndim != 1:
        raise InvalidRequest(field, f"has shape {wav.shape}; send one mono channel")
    seconds = len(wav) / rate
    if not limits.min_reference_seconds <= seconds <= limits.max_reference_seconds:
        raise InvalidRequest(
            field,
            f"lasts {seconds:.2f} s ({len(wav)} samples at {rate} Hz); the limits are "
            f"{limits.min_reference_seconds:g} and {limits.max_reference_seconds:g} s",
        )
    if not np.isfinite(wav).all():
        raise InvalidRequest(field, "has samples that are NaN or infinite")
    peak = float(np.abs(wav).max())
    if peak < limits.silence:
        raise InvalidRequest(
            field, f"is silent: its peak is {peak:.2g}; send a recording of a voice"
        )
    if peak > limits.peak:
        raise InvalidRequest(
            field,
            f"has a peak of {peak:.4g}; samples must lie in [-1, 1] (divide 16-bit PCM by 32768)",
        )


def _check_sampling(sampling: SamplingParams, limits: Limits) -> None:
    if sampling.temperature is not None and not 0 < sampling.temperature <= limits.max_temperature:
        raise InvalidRequest(
            "temperature",
            f"is {sampling.temperature:g}; it must be above 0 and at most "
            f"{limits.max_temperature:g} (for greedy decoding set top_k to 1)",
        )
    if sampling.top_p is not None and not 0 < sampling.top_p <= 1:
        raise InvalidRequest("top_p", f"is {sampling.top_p:g}; it must be above 0 and at most 1")
    if sampling.top_k is not None:
        _check_range("top_k", sampling.top_k, 1, limits.max_top_k)
    if sampling.seed is not None:
        _check_range("seed", sampling.seed, 0, MAX_SEED)


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for NaN too
        raise InvalidRequest(field, f"is {value}; the limits are {low} and {high}")

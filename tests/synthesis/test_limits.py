from typing import Any

import numpy as np
import pytest

from tritone.errors import InvalidRequest
from tritone.llm.contract import SamplingParams
from tritone.synthesis.limits import Limits, check
from tritone.synthesis.values import Emotion, SynthesisRequest

WAV = np.full(16000, 0.1, dtype=np.float32)


def request(**changes: Any) -> SynthesisRequest:
    return SynthesisRequest(**{"text": "Hello.", **changes})


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request(text="x" * 20000),
        request(voice="me", instruct_text="softly"),
        request(reference_wav=WAV, reference_text="hello"),
        request(reference_wav=WAV, reference_text="", voice=" "),
        request(reference_wav=WAV[:4800]),
        request(emotion=Emotion((0.0, 1.2), weight=0.5)),
        request(emotion=Emotion(wav=WAV)),
        request(emotion=Emotion(text="x" * 1000)),
        request(reference_wav=np.tile(WAV, 90), reference_rate=48000),
        request(reference_text="  ", instruct_text=""),
        request(speed=0.5),
        request(sampling=SamplingParams(temperature=2.0, top_p=1.0, top_k=10_000, seed=2**64 - 1)),
        request(sampling=SamplingParams(temperature=0.01, top_p=0.01, top_k=1, seed=0)),
    ],
)
def test_what_is_served(good: SynthesisRequest) -> None:
    check(good)


def bad_sample(value: float) -> np.ndarray:
    wav = WAV.copy()
    wav[100] = value
    return wav


@pytest.mark.parametrize(
    ("bad", "field", "problem"),
    [
        (request(text=""), "target_text", "is empty"),
        (request(text=" \n\t"), "target_text", "is empty"),
        (request(text="x" * 20001), "target_text", "has 20001 characters; the limit is 20000"),
        (request(text="a\0b"), "target_text", "NUL character at 1"),
        (request(text="a\ud800"), "target_text", "surrogate pair at 1"),
        (request(reference_text="hi"), "reference_text", "needs reference_wav"),
        (
            request(reference_wav=WAV, reference_text="x" * 1001),
            "reference_text",
            "the limit is 1000",
        ),
        (request(instruct_text="x" * 501), "instruct_text", "the limit is 500"),
        (request(reference_wav=WAV, voice="me"), "voice", "cannot be combined"),
        (request(reference_wav=WAV[:4799]), "reference_wav", "lasts 0.30 s"),
        (request(reference_wav=WAV[:0]), "reference_wav", "lasts 0.00 s"),
        (
            request(reference_wav=np.resize(WAV, 480001)),
            "reference_wav",
            r"480001 samples at 16000 Hz\); the limits are 0.3 and 30 s",
        ),
        (request(reference_wav=WAV[None]), "reference_wav", r"shape \(1, 16000\)"),
        (request(reference_wav=bad_sample(np.nan)), "reference_wav", "NaN"),
        (request(reference_wav=bad_sample(np.inf)), "reference_wav", "infinite"),
        (request(reference_wav=WAV / 1e4), "reference_wav", "is silent: its peak is 1e-05"),
        (request(reference_wav=bad_sample(-20000)), "reference_wav", "divide 16-bit PCM by 32768"),
        (request(reference_wav=WAV, reference_rate=7999), "reference_sample_rate", "is 7999 Hz"),
        (request(reference_wav=WAV, reference_rate=0), "reference_sample_rate", "is 0 Hz"),
        (request(reference_wav=WAV, reference_rate=192001), "reference_sample_rate", "192001"),
        (request(emotion=Emotion()), "emotion_weight", "needs emotion_vector, emotion_wav or"),
        (
            request(emotion=Emotion((0.5,), weight=1.1)),
            "emotion_weight",
            "is 1.1; the limits are 0",
        ),
        (
            request(emotion=Emotion((0.5, 1.21))),
            "emotion_vector",
            "is 1.21; the limits are 0 and 1.2",
        ),
        (request(emotion=Emotion((float("nan"),))), "emotion_vector", "is nan"),
        (request(emotion=Emotion((0.5,), WAV)), "emotion_vector", "cannot be combined"),
        (
            request(emotion=Emotion(wav=WAV, text="sad")),
            "emotion_wav",
            "cannot be combined with emotion_text",
        ),
        (request(emotion=Emotion(text="x" * 1001)), "emotion_text", "the limit is 1000"),
        (request(emotion=Emotion(wav=WAV[:100])), "emotion_wav", "lasts 0.01 s"),
        (request(emotion=Emotion(wav=WAV, rate=0)), "emotion_sample_rate", "is 0 Hz"),
        (request(speed=0.49), "speed", "is 0.49; the limits are 0.5 and 2.0"),
        (request(speed=float("nan")), "speed", "is nan"),
        (request(sampling=SamplingParams(temperature=0)), "temperature", "set top_k to 1"),
        (request(sampling=SamplingParams(temperature=2.1)), "temperature", "is 2.1"),
        (request(sampling=SamplingParams(temperature=float("nan"))), "temperature", "is nan"),
        (request(sampling=SamplingParams(top_p=0)), "top_p", "is 0"),
        (request(sampling=SamplingParams(top_p=1.01)), "top_p", "is 1.01"),
        (request(sampling=SamplingParams(top_k=0)), "top_k", "is 0; the limits are 1 and 10000"),
        (request(sampling=SamplingParams(top_k=10_001)), "top_k", "is 10001"),
        (request(sampling=SamplingParams(seed=-1)), "seed", "is -1"),
    ],
)
def test_what_is_refused(bad: SynthesisRequest, field: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        check(bad)
    assert caught.value.field == field


def test_limits_are_named_settings() -> None:
    with pytest.raises(InvalidRequest, match="the limit is 3"):
        check(request(), Limits(max_text_characters=3))

"""Requests that cannot be served: named at the door, and nobody else is harmed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
import upstream_client
from frontend_fixtures import voice
from serving import (
    LONG,
    LONGEST,
    SHORT,
    is_speech,
    reference,
    tensors,
    wait_until_free,
)
from tritonclient.utils import InferenceServerException
from waiting import HANG_S

from tritone.launcher import TritonServer
from tritone.triton_models import INNER_PARAMETER
from tritone.voice import pack
from tritone_client import Emotion, SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server


def test_streams_beyond_the_limit_are_refused_and_the_others_go_on(
    server: TritonServer, client: SpeechClient
) -> None:
    streams = [client.packets(Utterance(LONGEST)) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        assert all(len(p.samples) for p in pool.map(next, streams))
        with pytest.raises(SpeechError, match="16 streams are running") as refused:
            client.speak(Utterance(SHORT))
        list(pool.map(lambda stream: stream.close(), streams))
    assert refused.value.status == "UNAVAILABLE"
    wait_until_free(server)
    assert is_speech(client.speak(Utterance(SHORT)))


def test_length_beyond_the_data_is_named(server: TritonServer) -> None:
    inputs = upstream_client.infer_inputs(reference(), "words", SHORT)
    inputs[1].set_data_from_numpy(np.array([[10**6]], np.int32))
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        answers: list = []
        done = threading.Event()

        def collect(result, error):
            answers.append(error)
            done.set()

        raw.start_stream(collect)
        raw.async_stream_infer("cosyvoice2", inputs, enable_empty_final_response=True)
        assert done.wait(HANG_S)
    assert "reference_wav_len: is 1000000; reference_wav has 160000 samples" in str(answers[0])


def infer(server: TritonServer, model: str, arrays: dict[str, np.ndarray], **sequence: object):
    """One request to an inner model that answers once."""
    with triton.InferenceServerClient(server.urls.grpc) as raw:
        key = {INNER_PARAMETER: server.inner_key}
        return raw.infer(model, tensors(arrays), parameters=key, **sequence)


VOICE = pack(voice(0).to_arrays())


@pytest.mark.parametrize(
    ("tokens", "packed", "start", "message"),
    [
        ([5, 6561], VOICE, True, "target_speech_tokens: holds 6561; codes are 0..6560"),
        ([5], VOICE, False, "START|must specify the START flag"),
        ([5], b"no voice at all", True, "prompt_voice: holds no voice: "),
        ([5], pack({"embedding": np.ones(9)}), True, "prompt_voice: holds no voice: .*missing"),
        ([5], b"", True, "prompt_voice: is required with START"),
    ],
)
def test_token2wav_refuses_what_it_cannot_do(
    server: TritonServer, tokens: list[int], packed: bytes, start: bool, message: str
) -> None:
    arrays = {
        "target_speech_tokens": np.array([tokens], np.int32),
        "finalize": np.array([[True]]),
    }
    if packed:
        arrays["prompt_voice"] = np.frombuffer(packed, np.uint8)[None]
    with pytest.raises(InferenceServerException, match=message):
        sequence = {"sequence_id": 99, "sequence_start": start, "sequence_end": True}
        infer(server, "token2wav", arrays, **sequence)
    wait_until_free(server)


WAV = reference()
BAD = {
    "empty text": (Utterance(""), "target_text: is empty"),
    "blank text": (Utterance(" \n\t"), "target_text: is empty"),
    "nothing to say": (Utterance("…"), "target_text: has nothing that this voice can speak"),
    "an emoji": (Utterance("😊"), "target_text: has nothing"),
    "broken SSML": (Utterance("<speak>a"), "target_text: SSML is broken at line 1, column 9"),
    "unknown element": (Utterance("<speak><voice/></speak>"), "target_text: SSML, .*<voice>"),
    "deep SSML": (Utterance("<speak>" + "<p>" * 99), "nested deeper than 16 elements"),
    "a megabyte": (Utterance("a" * 1_000_000), "target_text: has 1000000 characters"),
    "transcript of nothing": (
        Utterance(SHORT, reference_wav=WAV, reference_text="—"),
        "reference_text: has nothing to say",
    ),
    "text over the limit": (Utterance("a " * 10500), "target_text: has 21000 .* 20000"),
    "short reference": (
        Utterance(SHORT, reference_wav=WAV[:3200]),
        r"reference_wav: lasts 0\.20 s .* 0\.3 and 30",
    ),
    "long reference": (
        Utterance(SHORT, reference_wav=reference(30.1)),
        r"reference_wav: lasts 30\.10 s",
    ),
    "NaN": (Utterance(SHORT, reference_wav=np.full_like(WAV, np.nan)), "reference_wav: .*NaN"),
    "infinity": (
        Utterance(SHORT, reference_wav=np.where(WAV > 0, np.inf, WAV).astype(np.float32)),
        "reference_wav: .*infinite",
    ),
    "low rate": (
        Utterance(SHORT, reference_wav=WAV, reference_rate=4000),
        "reference_sample_rate: .*4000.*8000",
    ),
    "high rate": (
        Utterance(SHORT, reference_wav=WAV, reference_rate=200000),
        "reference_sample_rate: .*200000.*192000",
    ),
    "transcript alone": (Utterance(SHORT, reference_text="hi"), "reference_text: needs"),
    "unknown voice": (Utterance(SHORT, voice="nobody"), "voice: 'nobody' .*heart, joe"),
    "path as voice": (Utterance(SHORT, voice="../../etc/passwd"), "voice: "),
    "slow": (Utterance(SHORT, speed=0.4), r"speed: is 0\.4.*0\.5 and 2"),
    "fast": (Utterance(SHORT, speed=2.5), r"speed: is 2\.5.*0\.5 and 2"),
    "cold": (Utterance(SHORT, temperature=0.0), "temperature: is 0.*above 0"),
    "hot": (Utterance(SHORT, temperature=2.5), r"temperature: is 2\.5.*2"),
    "no mass": (Utterance(SHORT, top_p=0.0), "top_p: is 0"),
    "too much mass": (Utterance(SHORT, top_p=1.5), r"top_p: is 1\.5"),
    "no candidates": (Utterance(SHORT, top_k=0), "top_k: is 0"),
    "emotion": (
        Utterance(SHORT, emotion=Emotion(vector=[1.0] * 8)),
        "emotion_vector: is no input of cosyvoice2",
    ),
    "emotion by text": (
        Utterance(SHORT, emotion=Emotion(text="sad")),
        "emotion_text: is no input of cosyvoice2",
    ),
    "instruction": (Utterance(SHORT, instruct_text="softly"), "instruct_text: "),
}


@pytest.fixture(scope="module")
def neighbour(server: TritonServer) -> Iterator[None]:
    """A stream that runs while the bad requests come in."""
    with SpeechClient(server.urls.grpc) as own, ThreadPoolExecutor(1) as pool:
        heard = pool.submit(own.speak, Utterance(LONG))
        yield
        assert is_speech(heard.result(timeout=120))


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_input_is_named_and_harms_nobody(
    client: SpeechClient, neighbour: None, case: str
) -> None:
    utterance, message = BAD[case]
    with pytest.raises(SpeechError, match=message) as refused:
        client.speak(utterance, timeout=HANG_S)
    assert refused.value.status == "INVALID_ARGUMENT"

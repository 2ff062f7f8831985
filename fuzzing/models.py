"""The models of a server with the embedded voice, and requests to them that are served."""

import numpy as np
from numpy.typing import NDArray

from fuzzing.requests import Model
from fuzzing.wire import Request, Tensor, array, text
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.voices import VoiceStore
from tritone.resources import embedded_voice
from tritone.triton_models import FLOW, FRONTEND, LANGUAGE_MODEL, VOCODER
from tritone.voice import pack

OPEN_TEXT = "open_text"  # of a prompt that another request adds to, or ends


def _by_name(*tensors: Tensor) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in tensors}


def _words(name: str, value: bytes, *batch: int) -> Tensor:
    return Tensor(name, "BYTES", (*batch, 1), text(value))


def _buzz(seconds: float = 0.6) -> NDArray[np.float32]:
    t = np.arange(int(16000 * seconds)) / 16000
    wave = np.sum([np.sin(754 * h * t) / h for h in range(1, 8)], axis=0) / 5
    return np.asarray(wave, np.float32)


def _packed() -> NDArray[np.uint8]:
    voice = VoiceStore(embedded_voice()).load("joe", Voice)
    return np.frombuffer(pack(voice.to_arrays()), np.uint8)


def _emotions(*batch: int) -> list[Tensor]:
    """What a request may say of an emotion, which excludes itself in part."""
    lead = (slice(None),) if not batch else (None,)
    values = {"emotion_vector": np.full(8, 0.1), "emotion_wav": _buzz()}
    return [
        *(array(name, "FP32", each[lead], "<f4") for name, each in values.items()),
        array("emotion_sample_rate", "INT32", np.array([16000])[lead], "<i4"),
        array("emotion_weight", "FP32", np.array([0.5])[lead], "<f4"),
        _words("emotion_text", b"So sad.", *batch),
    ]


def public(name: str = "cosyvoice2", *, emotions: bool = False) -> Model:
    """emotions: whether it has any."""
    good = _by_name(
        _words("target_text", b"Hi.", 1),
        array("reference_wav", "FP32", _buzz()[None], "<f4"),
        array("reference_wav_len", "INT32", [[9600]], "<i4"),
        array("reference_sample_rate", "INT32", [[16000]], "<i4"),
        _words("reference_text", b"Hello there.", 1),
        _words("instruct_text", b"softly", 1),
        _words("voice", b"heart", 1),
        array("seed", "UINT64", [[1]], "<u8"),
        array("temperature", "FP32", [[1.0]], "<f4"),
        array("top_p", "FP32", [[0.8]], "<f4"),
        array("top_k", "INT32", [[5]], "<i4"),
        array("speed", "FP32", [[1.0]], "<f4"),
        array("streaming", "BOOL", [[True]], "?"),
        *(_emotions(1) if emotions else ()),
    )
    return Model(name, good, ("target_text",), outputs=("waveform",), streams=True)


def frontend() -> Model:
    good = _by_name(
        _words("target_text", b"Hi. Ho."),
        array("reference_wav", "FP32", _buzz(), "<f4"),
        array("reference_wav_len", "INT32", [9600], "<i4"),
        array("reference_sample_rate", "INT32", [16000], "<i4"),
        _words("reference_text", b"Hello there."),
        _words("instruct_text", b"softly"),
        _words("voice", b"joe"),
        array("prepared_voice", "UINT8", _packed(), "u1"),
        _words("transcript", b"he sniffed the perfume."),
        array("block", "INT32", [0], "<i4"),
        array("continues", "INT32", [1], "<i4"),
        array("settled", "INT32", [4], "<i4"),
        *_emotions(),
    )
    return Model(FRONTEND, good, ("target_text",), ("prepared_voice",))


def language_model() -> Model:
    good = _by_name(
        array("input_ids", "INT32", [[5, 6, 7]], "<i4"),
        array("prompt_embeddings", "FP32", np.zeros((1, 3 * 64)), "<f4"),
        array("input_lengths", "INT32", [[3]], "<i4"),
        array("request_output_len", "INT32", [[4]], "<i4"),
        *(array(name, "INT32", [[1]], "<i4") for name in ("end_id", "pad_id", "min_length")),
        *(array(name, "INT32", [[1]], "<i4") for name in ("min_tokens", "runtime_top_k")),
        array("stop_words_list", "INT32", [[[1], [1]]], "<i4"),
        array("embedding_bias", "FP32", [[0.0, 0.0]], "<f4"),
        *(array(name, "FP32", [[1.0]], "<f4") for name in ("runtime_top_p", "temperature")),
        array("repetition_penalty", "FP32", [[1.1]], "<f4"),
        *(array(name, "UINT64", [[1]], "<u8") for name in ("random_seed", "seed")),
        array("streaming", "BOOL", [[True]], "?"),
        *(array(name, "BOOL", [[False]], "?") for name in ("stop", "extend")),
        array("turns", "INT32", [[1, 2, 5, 6]], "<i4"),
        array("rereads", "INT32", [[5, 2, 1]], "<i4"),
        array(OPEN_TEXT, "INT32", [[1, 2]], "<i4"),
        array("text_ended", "BOOL", [[True]], "?"),
    )
    required = ("input_ids", "input_lengths", "request_output_len")
    return Model(LANGUAGE_MODEL, good, required, outputs=("output_ids",), streams=True)


def stop(name: str) -> Request:
    """The end of the generation of that request id."""
    one = [[1]]
    lengths = ("input_ids", "input_lengths", "request_output_len")
    inputs = (array(n, "INT32", one, "<i4") for n in lengths)
    return Request(LANGUAGE_MODEL, (*inputs, array("stop", "BOOL", [[True]], "?")), name)


def flow() -> Model:
    good = _by_name(
        array("target_speech_tokens", "INT32", [[5, 6, 7, 8] * 8], "<i4"),
        array("finalize", "BOOL", [[True]], "?"),
        array("streaming", "BOOL", [[True]], "?"),
        array("target_latents", "FP32", np.zeros((1, 32 * 4)), "<f4"),
        array("prompt_voice", "UINT8", _packed()[None], "u1"),
    )
    required = ("target_speech_tokens", "finalize", "prompt_voice")
    return Model(FLOW, good, required, ("prompt_voice",), sequences=True)


def begin_vocoder() -> Request:
    """A request whose `next_state` is that of a stream in the middle."""
    frames = array("frames", "FP32", np.full(80 * 30, -5.0), "<f4")
    speed = array("speed", "FP32", [1.25], "<f4")
    return Request(VOCODER, (frames, array("finalize", "BOOL", [False], "?"), speed))


def vocoder(state: bytes) -> Model:
    """state: of a stream that has begun."""
    good = _by_name(
        array("frames", "FP32", np.full(80 * 30, -5.0), "<f4"),
        array("finalize", "BOOL", [True], "?"),
        array("cuts", "INT32", [10, 20], "<i4"),
        array("state", "UINT8", np.frombuffer(state, np.uint8), "u1"),
        array("seed", "UINT64", [1], "<u8"),
        array("speed", "FP32", [1.25], "<f4"),
    )
    return Model(VOCODER, good, ("frames", "finalize"), ("state",))

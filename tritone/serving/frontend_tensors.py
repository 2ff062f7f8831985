"""What a client asks for, and what `frontend` answers the orchestrator: a block of text, and the
voice that speaks it.

Prompts lie one after the other in `input_ids` or `prompt_embeddings`; a part that would be empty is
left out, since the Python backend does not carry tensors of no elements reliably.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.frontend.text.line import Break
from tritone.llm.contract import Prompt, SamplingParams
from tritone.synthesis.limits import is_given
from tritone.synthesis.values import Emotion, SynthesisRequest, TextBlock, TextPiece
from tritone.voice import Voice, pack, unpack

if TYPE_CHECKING:
    from tritone.serving.messages import Inputs

DEFAULT_REFERENCE_RATE = 16000

OUTPUTS = (
    "input_ids",
    "prompt_embeddings",
    "segment_lengths",
    "target_tokens",
    "info",
    "prepared_voice",
)


def text_array(text: str) -> NDArray[Any]:
    """(1,) as Triton takes a text."""
    return np.array([text.encode()], dtype=np.object_)


def read_request(inputs: "Inputs") -> SynthesisRequest:
    """Raises InvalidRequest for what cannot be read; `tritone.synthesis.limits` judges the rest."""
    return SynthesisRequest(
        text=inputs.text("target_text") or "",
        reference_wav=_reference(inputs),
        reference_rate=inputs.scalar("reference_sample_rate", DEFAULT_REFERENCE_RATE),
        reference_text=inputs.text("reference_text"),
        instruct_text=inputs.text("instruct_text"),
        voice=inputs.text("voice"),
        sampling=SamplingParams(
            temperature=inputs.scalar("temperature"),
            top_p=inputs.scalar("top_p"),
            top_k=inputs.scalar("top_k"),
            seed=inputs.scalar("seed"),
        ),
        speed=inputs.scalar("speed", 1.0),
        streaming=inputs.flag("streaming", default=True),
        continues=_break(inputs.scalar("continues", Break.NONE.value)),
        settled=inputs.scalar("settled"),
        emotion=_emotion(inputs),
    )


def _break(number: int) -> Break:
    known = {each.value: each for each in Break}
    if number not in known:
        raise InvalidRequest("continues", f"is {number}; it is one of {', '.join(map(str, known))}")
    return known[number]


def request_tensors(request: SynthesisRequest) -> dict[str, NDArray[Any]]:
    """What of a SynthesisRequest the front end needs, by wire name; absent fields left out."""
    values = text_tensors(request)
    for name, text in (("reference_text", request.reference_text), ("voice", request.voice)):
        if text:
            values[name] = text_array(text)
    if request.reference_wav is not None:
        values["reference_wav"] = request.reference_wav
        values["reference_sample_rate"] = np.array([request.reference_rate], np.int32)
    if request.emotion is not None:
        values.update(_emotion_tensors(request.emotion))
    return values


def text_tensors(request: SynthesisRequest) -> dict[str, NDArray[Any]]:
    """Those of them that are still needed once the voice is known."""
    texts = (("target_text", request.text), ("instruct_text", request.instruct_text))
    values = {name: text_array(text) for name, text in texts if text}
    if request.continues is not Break.NONE:
        values["continues"] = np.array([request.continues.value], np.int32)
    if request.settled is not None:
        values["settled"] = np.array([request.settled], np.int32)
    return values


def _emotion(inputs: "Inputs") -> Emotion | None:
    """None where no input of an emotion is given."""
    vector, wav = inputs.shaped("emotion_vector", -1), inputs.shaped("emotion_wav", -1)
    weight, text = inputs.scalar("emotion_weight"), inputs.text("emotion_text")
    text = text if is_given(text) else None
    if vector is None and wav is None and text is None and weight is None:
        return None
    return Emotion(
        # as the client wrote them, which float32 has not: 1.2 is the limit, and not above it
        None if vector is None else tuple(round(share, 6) for share in vector.tolist()),
        wav,
        inputs.scalar("emotion_sample_rate", DEFAULT_REFERENCE_RATE),
        1.0 if weight is None else weight,
        text,
    )


def _emotion_tensors(emotion: Emotion) -> dict[str, NDArray[Any]]:
    values: dict[str, NDArray[Any]] = {"emotion_weight": np.array([emotion.weight], np.float32)}
    if emotion.vector is not None:
        values["emotion_vector"] = np.array(emotion.vector, np.float32)
    if emotion.wav is not None:
        rate = np.array([emotion.rate], np.int32)
        values |= {"emotion_wav": emotion.wav, "emotion_sample_rate": rate}
    if emotion.text is not None:
        values["emotion_text"] = text_array(emotion.text)
    return values


def _reference(inputs: "Inputs") -> Float32 | None:
    """The reference without a client's padding."""
    wave = inputs.shaped("reference_wav", -1)
    length = inputs.scalar("reference_wav_len")
    if wave is None and length:
        raise InvalidRequest("reference_wav_len", f"is {length} but there is no reference_wav")
    if wave is None or length is None:
        return wave
    if not 0 <= length <= len(wave):
        raise InvalidRequest(
            "reference_wav_len", f"is {length}; reference_wav has {len(wave)} samples"
        )
    return wave[:length]


@dataclass(frozen=True)
class PreparedVoice:
    """The voice of a request on the wire. arrays: packed. cached: the front end had it ready."""

    arrays: bytes
    transcript: str
    cached: bool = False

    @classmethod
    def of(cls, voice: Voice, cached: bool) -> "PreparedVoice":
        return cls(pack(voice.to_arrays()), voice.transcript, cached)

    def open(self, kind: type[Voice]) -> Voice:
        return kind.from_arrays(unpack(self.arrays), self.transcript)

    def inputs(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """For the front end, in the place of what the voice was made from."""
        yield "prepared_voice", np.frombuffer(self.arrays, np.uint8)
        if self.transcript:
            yield "transcript", text_array(self.transcript)


def block_arrays(
    block: TextBlock, voice: PreparedVoice | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """voice: for whoever does not have it yet."""
    pieces = block.pieces
    if pieces:
        yield from _prompts([piece.prompt for piece in pieces])
        yield "target_tokens", np.array([p.target_tokens for p in pieces], np.int32)
    info = {
        "texts": [p.text for p in pieces],
        "notes": [p.notes for p in pieces],
        "pauses": [p.pause for p in pieces],
        "speeds": [p.speed for p in pieces],
        "starts": [p.start for p in pieces],
        "pauses_after": [p.pause_after for p in pieces],
        "openings": [p.opening for p in pieces],
        "skipped": block.notes,
        "more": block.more,
        "transcript": voice.transcript if voice else "",
        "voice_cached": bool(voice and voice.cached),
    }
    yield "info", text_array(json.dumps(info))
    if voice:
        yield "prepared_voice", np.frombuffer(voice.arrays, np.uint8)


def _prompts(prompts: list[Prompt]) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "segment_lengths", np.array([len(p) for p in prompts], np.int32)
    ids = [p.ids for p in prompts if p.ids is not None]
    embeddings = [p.embeddings for p in prompts if p.embeddings is not None]
    assert not ids or not embeddings, "the prompts of a block are of one kind"
    if ids:
        yield "input_ids", np.concatenate(ids)
    else:
        yield "prompt_embeddings", np.concatenate(embeddings)


def read_block(array: Callable[[str], Any]) -> tuple[TextBlock, PreparedVoice | None]:
    """array: an output by name, None where it was left out."""
    info = json.loads(array("info")[0])
    pieces = tuple(
        TextPiece(prompt, int(target), text, tuple(notes), *more)
        for prompt, target, text, notes, *more in zip(
            _read_prompts(array),
            array("target_tokens") if info["texts"] else (),
            info["texts"],
            info["notes"],
            info["pauses"],
            info["speeds"],
            info["starts"],
            info["pauses_after"],
            info["openings"],
            strict=True,
        )
    )
    arrays, voice = array("prepared_voice"), None
    if arrays is not None:
        voice = PreparedVoice(arrays.tobytes(), info["transcript"], info["voice_cached"])
    return TextBlock(pieces, tuple(info["skipped"]), bool(info["more"])), voice


def _read_prompts(array: Callable[[str], Any]) -> list[Prompt]:
    lengths = array("segment_lengths")
    if lengths is None:
        return []
    ends = np.cumsum(lengths)[:-1]
    ids = array("input_ids")
    if ids is not None:
        return [Prompt(part) for part in np.split(ids, ends)]
    return [Prompt(embeddings=part) for part in np.split(array("prompt_embeddings"), ends)]

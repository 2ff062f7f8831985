"""The public request: inputs of the public model to a SynthesisRequest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.llm.contract import SamplingParams
from tritone.serving.tensors import Inputs
from tritone.serving.text_block import text_array
from tritone.synthesis.values import SynthesisRequest

DEFAULT_REFERENCE_RATE = 16000


def read_request(request: Any) -> SynthesisRequest:
    """Raises InvalidRequest for what cannot be read; `tritone.synthesis.limits` judges the rest."""
    inputs = Inputs(request)
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
    )


def request_tensors(request: SynthesisRequest) -> dict[str, NDArray[Any]]:
    """What of a SynthesisRequest the front end needs, by wire name; absent fields left out."""
    values = text_tensors(request)
    for name, text in (("reference_text", request.reference_text), ("voice", request.voice)):
        if text:
            values[name] = text_array(text)
    if request.reference_wav is not None:
        values["reference_wav"] = request.reference_wav
        values["reference_sample_rate"] = np.array([request.reference_rate], np.int32)
    return values


def text_tensors(request: SynthesisRequest) -> dict[str, NDArray[Any]]:
    """Those of them that are still needed once the voice is known."""
    texts = (("target_text", request.text), ("instruct_text", request.instruct_text))
    return {name: text_array(text) for name, text in texts if text}


def _reference(inputs: Inputs) -> Float32 | None:
    """The reference without a client's padding."""
    wave = inputs.shaped("reference_wav", -1)
    length = inputs.scalar("reference_wav_len")
    if wave is None:
        if length:
            raise InvalidRequest("reference_wav_len", f"is {length} but there is no reference_wav")
        return None
    if length is None:
        return wave
    if not 0 <= length <= len(wave):
        raise InvalidRequest(
            "reference_wav_len", f"is {length}; reference_wav has {len(wave)} samples"
        )
    return wave[:length]

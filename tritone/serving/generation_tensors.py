"""Requests of the model `tensorrt_llm`, whatever serves it, in the tensors of NVIDIA's backend.

All that some runtime needs is sent: that backend knows nothing of the checkpoint and takes the bias
of the speech head, with the ban on text ids, from the request. Our runtimes read the checkpoint and
need fewer. Two inputs have another name in later versions of the backend, which ignores what it
does not know; both names are sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.llm.config import LanguageModelConfig
from tritone.llm.contract import (
    GenerationRequest,
    MoreText,
    OpenText,
    Prompt,
    Rereads,
    SamplingParams,
    Turns,
)
from tritone.llm.external import REPETITION_PENALTY

if TYPE_CHECKING:
    from tritone.serving.messages import Inputs

OUTPUTS = ("output_ids", "sequence_length")
_ON_THE_WIRE = {
    "top_k": "runtime_top_k",
    "top_p": "runtime_top_p",
    "seed": "random_seed",
    "max_tokens": "request_output_len",
    "min_tokens": "min_length",
}
SAID = "said"  # of checkpoints with text heads, from runtimes of ours
FAILURE = "failure"  # words of an error that comes after tokens, from runtimes of ours
LATENTS = "latents"  # of checkpoints whose flow takes them, from runtimes of ours


def generation_tensors(
    request: GenerationRequest, config: LanguageModelConfig, bias: Float32 | None
) -> dict[str, NDArray[Any]]:
    """Inputs of one generation by name, with the leading batch dimension of one.

    bias: (vocab_size,) of `tritone.llm.checkpoint.logit_bias`; None where the runtime reads the
    checkpoint itself. A prompt of embeddings goes as `prompt_embeddings`, row after row, beside
    ids of zero.
    """
    # every value said, since another runtime knows nothing of the checkpoint's defaults
    own = config.sampling
    given = {name: value for name, value in asdict(request.sampling).items() if value is not None}
    sampling = replace(SamplingParams(own.temperature, own.top_p, own.top_k, seed=0), **given)
    stop_words = config.llm.stop_words
    words = [stop_words, range(1, len(stop_words) + 1)]  # ids, and where each word ends
    minimum, seed = row([request.min_tokens], np.int32), row([sampling.seed], np.uint64)
    prompt = request.prompt
    ids = np.zeros(len(prompt), np.int32) if prompt.ids is None else prompt.ids
    optional = {}
    if bias is not None:
        optional["embedding_bias"] = row(bias, np.float32)
    if prompt.embeddings is not None:
        optional["prompt_embeddings"] = row(prompt.embeddings, np.float32)
    if (text := request.open_text) is not None:
        optional |= _open_tensors(text, len(ids))
        ids = np.concatenate([ids, text.ids, text.speech])
    return {
        **optional,
        "input_ids": row(ids, np.int32),
        "input_lengths": row([len(ids)], np.int32),
        "request_output_len": row([request.max_tokens], np.int32),
        "min_length": minimum,
        "min_tokens": minimum,
        "end_id": row([stop_words[0]], np.int32),
        "pad_id": row([stop_words[0]], np.int32),
        "stop_words_list": np.array([words], np.int32),
        "streaming": row([True], np.bool_),
        "runtime_top_k": row([sampling.top_k], np.int32),
        "runtime_top_p": row([sampling.top_p], np.float32),
        "temperature": row([sampling.temperature], np.float32),
        "repetition_penalty": row([1.0 if sampling.top_k == 1 else REPETITION_PENALTY], np.float32),
        "random_seed": seed,
        "seed": seed,
    }


def _open_tensors(text: OpenText, begins: int) -> dict[str, NDArray[Any]]:
    """begins: where it does in input_ids."""
    return {
        "rereads" if isinstance(text.way, Rereads) else "turns": row(astuple(text.way), np.int32),
        "open_text": row([begins, begins + len(text.ids)], np.int32),
        "text_ended": row([text.ended], np.bool_),
    }


def stop_tensors() -> dict[str, NDArray[Any]]:
    """Inputs that stop the generation of the same request id."""
    return {
        "input_ids": row([0], np.int32),
        "input_lengths": row([1], np.int32),
        "request_output_len": row([1], np.int32),
        "stop": row([True], np.bool_),
    }


def extension_tensors(more: MoreText) -> dict[str, NDArray[Any]]:
    """Inputs that add to the open text of the generation of the same request id."""
    return {
        "input_ids": row(more.ids if len(more.ids) else [0], np.int32),
        "input_lengths": row([len(more.ids)], np.int32),
        "request_output_len": row([more.max_tokens], np.int32),
        "min_length": row([more.min_tokens], np.int32),
        "extend": row([True], np.bool_),
        "text_ended": row([more.ended], np.bool_),
    }


def row(values: Any, dtype: Any) -> NDArray[Any]:
    """(1, n): with the leading dimension of models that batch."""
    return np.asarray(values, dtype=dtype).reshape(1, -1)


@contextmanager
def by_wire_name() -> Iterator[None]:
    """InvalidRequest of a runtime gets the name that the field has on the wire."""
    try:
        yield
    except InvalidRequest as error:
        problem = str(error).partition(": ")[2]
        raise InvalidRequest(_ON_THE_WIRE.get(error.field, error.field), problem) from error


def read_generation(inputs: "Inputs") -> GenerationRequest:
    """Raises InvalidRequest for a missing input or a length that is not there."""
    ids, length = inputs.integers("input_ids"), inputs.scalar("input_lengths")
    if ids is None or length is None:
        raise InvalidRequest("input_ids", "and input_lengths are both required")
    if not 0 < length <= len(ids):
        raise InvalidRequest("input_lengths", f"is {length}; input_ids has {len(ids)}")
    longest = _longest(inputs)
    embeddings = inputs.shaped("prompt_embeddings", length, -1)
    prompt = Prompt(ids[:length]) if embeddings is None else Prompt(embeddings=embeddings)
    prompt, open_text = _read_open(inputs, prompt)
    return GenerationRequest(
        prompt=prompt,
        open_text=open_text,
        min_tokens=inputs.scalar("min_length", inputs.scalar("min_tokens", 0)),
        max_tokens=longest,
        sampling=SamplingParams(
            temperature=inputs.scalar("temperature"),
            top_p=inputs.scalar("runtime_top_p"),
            top_k=inputs.scalar("runtime_top_k"),
            seed=inputs.scalar("random_seed", inputs.scalar("seed")),
        ),
    )


def read_extension(inputs: "Inputs") -> MoreText:
    """Raises InvalidRequest as `read_generation` does."""
    ids, length = inputs.integers("input_ids"), inputs.scalar("input_lengths", 0)
    if ids is None or not 0 <= length <= len(ids):
        count = 0 if ids is None else len(ids)
        raise InvalidRequest("input_lengths", f"is {length}; input_ids has {count}")
    return MoreText(
        ids[:length],
        inputs.flag("text_ended"),
        min_tokens=inputs.scalar("min_length", 0),
        max_tokens=_longest(inputs),
    )


def _longest(inputs: "Inputs") -> int:
    longest = inputs.scalar("request_output_len")
    if longest is None or longest < 1:
        raise InvalidRequest("request_output_len", f"is {longest}; it must be at least 1")
    return int(longest)


def _read_open(inputs: "Inputs", prompt: Prompt) -> tuple[Prompt, OpenText | None]:
    """The prompt before an open text, and that text."""
    places = inputs.integers("open_text")
    if places is None:
        return prompt, None
    begins, ends = places.tolist()
    if prompt.ids is None or not 0 < begins <= ends <= len(prompt.ids):
        problem = f"is at {begins} to {ends}; it must be within {len(prompt)} input_ids, after one"
        raise InvalidRequest("open_text", problem)
    text, speech = prompt.ids[begins:ends], prompt.ids[ends:]
    return Prompt(prompt.ids[:begins]), OpenText(
        _read_way(inputs), text, speech, inputs.flag("text_ended")
    )


def _read_way(inputs: "Inputs") -> Turns | Rereads:
    turns, rereads = inputs.integers("turns"), inputs.integers("rereads")
    if turns is not None:
        return Turns(*turns.tolist())
    if rereads is not None:
        return Rereads(*rereads.tolist())
    raise InvalidRequest("open_text", "needs turns or rereads")

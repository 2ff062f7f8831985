"""What is sent to the model `tensorrt_llm`, whatever serves it.

Everything that some runtime needs: NVIDIA's backend knows nothing of the checkpoint and takes the
bias of the speech head, with the ban on text ids, from the request. Two inputs have another name in
later versions of the backend, which ignores what it does not know; both names are sent.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import GenerationRequest, SamplingParams
from tritone.llm.external import REPETITION_PENALTY

OUTPUTS = ("output_ids", "sequence_length")


def generation_tensors(
    request: GenerationRequest, config: SpokenConfig, bias: Float32 | None
) -> dict[str, NDArray[Any]]:
    """Inputs of one generation by name, with the leading batch dimension of one.

    bias: (vocab_size,) of `tritone.llm.checkpoint.logit_bias`; None where the runtime reads the
    checkpoint itself. A prompt of embeddings goes as `prompt_embeddings`, beside ids of zero.
    """
    sampling = _resolved(request.sampling, config)
    greedy = sampling.top_k == 1
    stop_ids = config.llm.stop_ids
    words = [stop_ids, range(1, len(stop_ids) + 1)]  # ids, and where each word ends
    minimum, seed = _row([request.min_tokens], np.int32), _row([sampling.seed or 0], np.uint64)
    prompt = request.prompt
    ids = np.zeros(len(prompt), np.int32) if prompt.ids is None else prompt.ids
    optional = {}
    if bias is not None:
        optional["embedding_bias"] = _row(bias, np.float32)
    if prompt.embeddings is not None:
        optional["prompt_embeddings"] = np.asarray(prompt.embeddings, np.float32)[None]
    return {
        **optional,
        "input_ids": _row(ids, np.int32),
        "input_lengths": _row([len(prompt)], np.int32),
        "request_output_len": _row([request.max_tokens], np.int32),
        "min_length": minimum,
        "min_tokens": minimum,
        "end_id": _row([stop_ids[0]], np.int32),
        "pad_id": _row([stop_ids[0]], np.int32),
        "stop_words_list": np.array([words], np.int32),
        "streaming": _row([True], np.bool_),
        "runtime_top_k": _row([sampling.top_k], np.int32),
        "runtime_top_p": _row([sampling.top_p], np.float32),
        "temperature": _row([sampling.temperature], np.float32),
        "repetition_penalty": _row([1.0 if greedy else REPETITION_PENALTY], np.float32),
        "random_seed": seed,
        "seed": seed,
    }


def stop_tensors() -> dict[str, NDArray[Any]]:
    """Inputs that stop the generation of the same request id."""
    return {
        "input_ids": _row([0], np.int32),
        "input_lengths": _row([1], np.int32),
        "request_output_len": _row([1], np.int32),
        "stop": _row([True], np.bool_),
    }


def _row(values: Any, dtype: Any) -> NDArray[Any]:
    return np.asarray(values, dtype=dtype).reshape(1, -1)


def _resolved(given: SamplingParams, config: SpokenConfig) -> SamplingParams:
    """Every value said, since another runtime knows nothing of the checkpoint's defaults."""
    defaults = config.sampling
    return SamplingParams(
        temperature=defaults.temperature if given.temperature is None else given.temperature,
        top_p=defaults.top_p if given.top_p is None else given.top_p,
        top_k=defaults.top_k if given.top_k is None else given.top_k,
        seed=given.seed,
    )

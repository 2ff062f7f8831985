"""Requests of `tensorrt_llm`: the tensors of the TensorRT-LLM backend to a GenerationRequest.

Of these tensors our runtimes need fewer than NVIDIA's backend: bias, penalty and stop words follow
from the model directory that they read. Two have another name in some versions of the backend.
"""

from typing import Any

from tritone.errors import InvalidRequest
from tritone.llm.contract import GenerationRequest, Prompt, SamplingParams
from tritone.serving.tensors import Inputs


def read_generation(inputs: Inputs) -> GenerationRequest:
    """Raises InvalidRequest for a missing input or a length that is not there."""
    ids, length = inputs.integers("input_ids"), inputs.scalar("input_lengths")
    if ids is None or length is None:
        raise InvalidRequest("input_ids", "and input_lengths are both required")
    if not 0 < length <= len(ids):
        raise InvalidRequest("input_lengths", f"is {length}; input_ids has {len(ids)}")
    longest = inputs.scalar("request_output_len")
    if longest is None or longest < 1:
        raise InvalidRequest("request_output_len", f"is {longest}; it must be at least 1")
    embeddings = inputs.shaped("prompt_embeddings", length, -1)
    prompt = Prompt(ids[:length]) if embeddings is None else Prompt(embeddings=embeddings)
    return GenerationRequest(
        prompt=prompt,
        min_tokens=_either(inputs, "min_length", "min_tokens") or 0,
        max_tokens=longest,
        sampling=SamplingParams(
            temperature=inputs.scalar("temperature"),
            top_p=inputs.scalar("runtime_top_p"),
            top_k=inputs.scalar("runtime_top_k"),
            seed=_either(inputs, "random_seed", "seed"),
        ),
    )


def _either(inputs: Inputs, name: str, other: str) -> Any:
    value = inputs.scalar(name)
    return inputs.scalar(other) if value is None else value

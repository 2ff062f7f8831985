"""Which generations a runtime takes."""

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, Overloaded
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest


def check_generation(request: GenerationRequest, llm: LLMConfig, positions: int) -> None:
    """Raise InvalidRequest for a prompt or lengths that cannot be served.

    positions: of one generation, prompt included.
    """
    prompt = request.prompt
    if prompt.ids is not None:
        field, unit = "input_ids", "ids"
        _check_ids(prompt.ids, llm.prompt_ids - 1)
    else:
        assert prompt.embeddings is not None
        field, unit = "prompt_embeddings", "rows"
        _check_embeddings(prompt.embeddings, llm.hidden_size)
    if len(prompt) >= positions:
        raise InvalidRequest(
            field,
            f"{len(prompt)} {unit} leave no room to speak in {positions} positions; "
            "shorten the text or the reference",
        )
    if request.max_tokens < 1:
        raise InvalidRequest("max_tokens", f"{request.max_tokens} is below 1")
    if request.min_tokens < 0:
        raise InvalidRequest("min_tokens", f"{request.min_tokens} is below 0")


def _check_ids(ids: Int32, limit: int) -> None:
    if ids.ndim != 1 or len(ids) == 0:
        raise InvalidRequest("input_ids", f"shape {ids.shape}, expected (n,) with n >= 1")
    if ids.min() < 0 or ids.max() > limit:
        wrong = int(ids[(ids < 0) | (ids > limit)][0])
        raise InvalidRequest("input_ids", f"id {wrong} is outside 0..{limit}")


def _check_embeddings(rows: Float32, hidden: int) -> None:
    if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != hidden:
        raise InvalidRequest(
            "prompt_embeddings", f"shape {rows.shape}, expected (n, {hidden}) with n >= 1"
        )
    if not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise InvalidRequest("prompt_embeddings", f"row {row} has values that are NaN or infinite")


def check_load(running: int, slots: int, max_waiting: int) -> None:
    """Raise Overloaded when as many generations run or wait as a runtime takes."""
    if running >= slots + max_waiting:
        raise Overloaded(
            f"{running} generations run or wait for the language model "
            f"(limits: {slots} and {max_waiting}); retry later"
        )

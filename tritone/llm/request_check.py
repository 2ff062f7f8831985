"""Whether a generation can be served, before any work on it."""

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, Overloaded
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest, OpenText, Prompt, Turns


def check_generation(request: GenerationRequest, llm: LLMConfig, positions: int) -> None:
    """Raise InvalidRequest for what does not fit in `positions`, or cannot be served at all."""
    prompt = request.prompt
    if prompt.ids is not None:
        field, unit = "input_ids", "ids"
        check_ids(prompt.ids, llm.prompt_ids - 1)
    else:
        assert prompt.embeddings is not None
        field, unit = "prompt_embeddings", "rows"
        _check_embeddings(prompt.embeddings, llm.hidden_size)
    text = request.open_text
    count = len(prompt)
    if text is not None:
        _check_open(prompt, text, llm)
        count += len(text.ids) + len(text.speech)
    if count >= positions:
        problem = f"{count} {unit} leave no room to speak in {positions} positions"
        raise InvalidRequest(field, f"{problem}; shorten the text or the reference")
    check_counts(request)


def check_counts(request: GenerationRequest) -> None:
    """Raise InvalidRequest for numbers of tokens that cannot be."""
    for name, least in (("max_tokens", 1), ("min_tokens", 0)):
        if (value := getattr(request, name)) < least:
            raise InvalidRequest(name, f"{value} is below {least}")


def _check_open(prompt: Prompt, text: OpenText, llm: LLMConfig) -> None:
    if prompt.ids is None:
        raise InvalidRequest("prompt_embeddings", "cannot be followed by an open text; send ids")
    for ids in filter(len, (text.ids, text.speech)):
        check_ids(ids, llm.prompt_ids - 1)
    way, fitting = text.way, True
    if isinstance(way, Turns):
        fitting = way.fill_id in llm.stop_ids[1:] and way.speech > 0
    elif not llm.text_heads:
        raise InvalidRequest("open_text", "is to be read anew by a model that tells nothing")
    if not (fitting and way.text > 0 and 0 <= way.closing_id < llm.prompt_ids):
        raise InvalidRequest("open_text", f"cannot be read by {way}")
    if text.ended and not len(text.ids):
        raise InvalidRequest("open_text", "has ended without any id")


def check_ids(ids: Int32, limit: int) -> None:
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

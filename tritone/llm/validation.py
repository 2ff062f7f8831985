"""Which generations a runtime takes."""

from tritone.errors import InvalidRequest, Overloaded
from tritone.llm.config import LLMConfig
from tritone.llm.contract import GenerationRequest


def check_generation(request: GenerationRequest, llm: LLMConfig, positions: int) -> None:
    """Raise InvalidRequest for ids or lengths that cannot be served.

    positions: of one generation, prompt included.
    """
    ids, limit = request.input_ids, llm.task_id
    if ids.ndim != 1 or len(ids) == 0:
        raise InvalidRequest("input_ids", f"shape {ids.shape}, expected (n,) with n >= 1")
    if ids.min() < 0 or ids.max() > limit:
        wrong = int(ids[(ids < 0) | (ids > limit)][0])
        raise InvalidRequest("input_ids", f"id {wrong} is outside 0..{limit}")
    if len(ids) >= positions:
        raise InvalidRequest(
            "input_ids",
            f"{len(ids)} ids leave no room to speak in {positions} positions; "
            "shorten the text or the reference",
        )
    if request.max_tokens < 1:
        raise InvalidRequest("max_tokens", f"{request.max_tokens} is below 1")
    if request.min_tokens < 0:
        raise InvalidRequest("min_tokens", f"{request.min_tokens} is below 0")


def check_load(running: int, slots: int, max_waiting: int) -> None:
    """Raise Overloaded when as many generations run or wait as a runtime takes."""
    if running >= slots + max_waiting:
        raise Overloaded(
            f"{running} generations run or wait for the language model "
            f"(limits: {slots} and {max_waiting}); retry later"
        )

"""The emotion model's part of config.json: a Qwen3 that was taught to name emotions in texts."""

from typing import Annotated

from pydantic import Field

from tritone.config import Strict
from tritone.llm.qwen3 import Qwen3Config

PRECISION = "int8"
POSITIONS = 2048  # of the question and its answer; upstream has no bound of its own
MOST_TOKENS = 256  # of an answer, which is one line of JSON; upstream waits for 32768


class EmotionModelConfig(Strict):
    """opening, closing: what stands before and after the text that is read, control tokens among
    it. end_ids: that end an answer."""

    decoder: Qwen3Config
    opening: str
    closing: str
    end_ids: Annotated[tuple[int, ...], Field(min_length=1)]

"""What stands in a prompt beside the words of a request."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tritone.errors import InvalidRequest
from tritone.frontend.text.segment import is_speakable
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.frontend.text.traced import Traced
from tritone.frontend.text.typography import clean
from tritone.synthesis.limits import is_given
from tritone.synthesis.values import SynthesisRequest


class Wording(Protocol):
    @property
    def lead(self) -> Sequence[int]:
        """Ids before the transcript, or before the text where there is no transcript."""
        ...

    def opening(self, prompt_text: Sequence[int]) -> int:
        """How many ids of a prompt's text are read before text and speech take turns."""
        ...

    def own_words(self, request: SynthesisRequest) -> SynthesisRequest:
        """The request without what the model adds by itself; places in its text stay.

        Raises InvalidRequest for words that this checkpoint does not take.
        """
        ...

    def instruction(self, text: str) -> list[int]:
        """Ids in the place of the transcript, of what `own_words` left of an instruction."""
        ...


class PlainWording:
    """Nothing is added but the token that closes an instruction."""

    lead: Sequence[int] = ()

    def __init__(self, tokenizer: TextTokenizer, instruct_end: str) -> None:
        """instruct_end: empty where the checkpoint follows no instructions. Raises
        ModelDirectoryError where the tokenizer lacks it."""
        self._tokenizer, self._end_text = tokenizer, instruct_end
        self._end = tokenizer.control_id(instruct_end) if instruct_end else None

    def opening(self, prompt_text: Sequence[int]) -> int:
        return 0

    def own_words(self, request: SynthesisRequest) -> SynthesisRequest:
        if not is_given(request.instruct_text):
            return request
        if self._end is None:
            raise InvalidRequest("instruct_text", "this checkpoint does not follow instructions")
        text = cleaned(str(request.instruct_text)).removesuffix(self._end_text)
        check_instruction(text)
        return replace(request, instruct_text=text)

    def instruction(self, text: str) -> list[int]:
        assert self._end is not None
        return [*self._tokenizer.encode(text), self._end]


def cleaned(text: str) -> str:
    return clean(Traced.of(text)).stripped().text


def check_instruction(text: str) -> None:
    """Raise InvalidRequest for one that has no words."""
    if not is_speakable(text):
        raise InvalidRequest("instruct_text", "has no words; leave it out to speak without it")

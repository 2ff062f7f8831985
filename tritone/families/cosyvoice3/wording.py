"""The system's words in a prompt, which clients of upstream send and others leave out."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tritone.errors import InvalidRequest
from tritone.families.cosyvoice2.wording import check_instruction, cleaned
from tritone.families.cosyvoice3.config import TextConfig
from tritone.families.cosyvoice3.phonemes import check_phonemes
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.synthesis.limits import is_given
from tritone.synthesis.values import SynthesisRequest

_CONTROL = re.compile(r"<\|[^<>|]*\|>")


class SystemWording:
    """A `tritone.families.cosyvoice2.wording.Wording`.

        zero-shot       system · end of prompt · transcript
        cross-lingual   system · end of prompt
        instruct        system and instruction · end of prompt

    The system's words are no part of the text: fewest and most speech tokens are counted without
    them, though upstream counts them where there is no transcript.
    """

    def __init__(self, tokenizer: TextTokenizer, words: TextConfig) -> None:
        """Raises ModelDirectoryError where the tokenizer lacks the end of prompt."""
        self._tokenizer, self._words = tokenizer, words
        self._end = tokenizer.control_id(words.instruct_end)
        self.lead: Sequence[int] = (*tokenizer.encode(words.system), self._end)

    def opening(self, prompt_text: Sequence[int]) -> int:
        """The system's words and an instruction, with what closes them."""
        return prompt_text.index(self._end) + 1

    def own_words(self, request: SynthesisRequest) -> SynthesisRequest:
        """Also raises InvalidRequest for phonemes that do not exist."""
        text = _after_system("target_text", request.text, self._words)
        blank = " " * (len(request.text) - len(text))
        transcript, instruction = request.reference_text, request.instruct_text
        if is_given(transcript):
            transcript = transcript_alone(str(transcript), self._words)
        if is_given(instruction):
            instruction = self._instruction_alone(str(instruction))
        for field, words in (("target_text", text), ("reference_text", transcript)):
            check_phonemes(field, words or "")
        return replace(
            request, text=blank + text, reference_text=transcript, instruct_text=instruction
        )

    def instruction(self, text: str) -> list[int]:
        return [*self._tokenizer.encode(f"{self._words.system} {text}"), self._end]

    def _instruction_alone(self, text: str) -> str:
        text = cleaned(text).removesuffix(self._words.instruct_end)
        _check_control("instruct_text", text)
        text = text.removeprefix(self._words.system).strip()
        check_instruction(text)
        return text


def transcript_alone(text: str, words: TextConfig) -> str:
    """Raises InvalidRequest for other words before it, and for control tokens in it."""
    text = _after_system("reference_text", text, words)
    _check_control("reference_text", text)
    return text


def _after_system(field: str, text: str, words: TextConfig) -> str:
    """What follows the system's words, where a text begins with them and the end of prompt."""
    before, end, after = text.partition(words.instruct_end)
    if not end:
        return text
    if cleaned(before) != words.system:
        raise InvalidRequest(
            field,
            f"has {before[:80]!r} before {end}; only {words.system!r} may stand there, and may be "
            "left out; send an instruction as instruct_text",
        )
    return after


def _check_control(field: str, text: str) -> None:
    if control := _CONTROL.search(text):
        raise InvalidRequest(
            field, f"has {control[0]}, which is part of no transcript or instruction; leave it out"
        )

"""CosyVoice2's rules of speech for the pipeline. Importing this imports no torch."""

from dataclasses import replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from tritone.errors import StageFailed
from tritone.families.cosyvoice2.chunk_planner import ChunkPlanner, ChunkPolicy
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment
from tritone.synthesis.rules import Hops, Rates

CODES_PER_SECOND = 25


class TokenGuard:
    """Checks one generation as its tokens come: for endless repeats, and for no speech at all."""

    longest_run = 50  # equal tokens in a row, at 25 a second, that still pass for a pause
    shortest = 0.25  # tokens for each text token; speech that ends by itself before them is cut

    def __init__(self, codes: int) -> None:
        self._codes = codes
        self._last = -1
        self._run = 0
        self.count = 0

    def admit(self, increment: Increment) -> str:
        """Take new codes; return what is wrong with the generation, or nothing.

        Raises StageFailed for a code outside the codebook: it must never reach the flow.
        """
        tokens = increment.ids
        outside = tokens[(tokens < 0) | (tokens >= self._codes)]
        if outside.size:
            raise StageFailed(
                "tensorrt_llm", f"gave code {int(outside[0])}; codes are 0..{self._codes - 1}"
            )
        for token in tokens.tolist():
            self._run = self._run + 1 if token == self._last else 1
            self._last = token
            if self._run > self.longest_run:
                return f"the same token {self._run} times in a row"
        self.count += len(tokens)
        return ""

    def ended(self, target_tokens: int) -> str:
        """What is wrong with a generation that ended by itself, or nothing."""
        least = max(1, int(np.ceil(self.shortest * target_tokens)))
        if self.count < least:
            return f"{self.count} speech tokens for {target_tokens} text tokens"
        return ""


class CosyVoice2Rules:
    """`tritone.synthesis.rules.SpeechRules` of one checkpoint."""

    first_frames = 24

    def __init__(self, config: CosyVoice2Config, hops: Hops) -> None:
        """Raises EnvironmentProblem for hops that the checkpoint's chunks do not allow."""
        self._config, flow = config, config.flow
        given = {name: value for name, value in vars(hops).items() if value is not None}
        self.chunks = ChunkPolicy(chunk=flow.chunk_size, lookahead=flow.pre_lookahead_len, **given)

    @cached_property
    def rates(self) -> Rates:
        codes = Fraction(CODES_PER_SECOND)
        frames = codes * self._config.flow.token_mel_ratio
        return Rates(codes, frames, Fraction(self._config.sample_rate))

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        sampling = self._config.sampling
        bounds = sampling.min_tokens_per_text_token, sampling.max_tokens_per_text_token
        return int(bounds[0] * target_tokens), int(bounds[1] * target_tokens)

    def codes(self, increment: Increment) -> Increment:
        """LLM ids to codes of the codebook."""
        return Increment(increment.ids - np.int32(self._config.llm.speech_offset))

    def guard(self) -> TokenGuard:
        return TokenGuard(self._config.llm.speech_codes)

    def plan(self, voice: Voice, *, streaming: bool) -> tuple[ChunkPlanner, Voice]:
        """The start of the flow's prompt is dropped so that the first hop has its length."""
        tokens = len(voice.prompt_tokens)
        trim = self.chunks.prompt_trim(tokens) if streaming else 0
        voice = trim_prompt(voice, trim, self._config.flow.token_mel_ratio)
        return ChunkPlanner(self.chunks, tokens - trim), voice


def trim_prompt(voice: Voice, tokens: int, ratio: int) -> Voice:
    """A voice without the first `tokens` of its prompt and their mel frames."""
    kept, mel = voice.prompt_tokens[tokens:], voice.prompt_mel[tokens * ratio :]
    return replace(voice, prompt_tokens=kept, prompt_mel=mel)

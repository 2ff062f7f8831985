"""CosyVoice2's rules of speech for the pipeline. Importing this imports no torch."""

from dataclasses import replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from tritone.families.cosyvoice2.chunk_planner import ChunkPlanner, ChunkPolicy
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.guard import GuardPolicy, TokenGuard
from tritone.families.cosyvoice2.voice import Voice
from tritone.llm.contract import Increment
from tritone.synthesis.rules import Hops, Rates

CODES_PER_SECOND = 25
FIRST_FRAMES = 24


class CosyVoice2Rules:
    """`tritone.synthesis.rules.SpeechRules` of one checkpoint."""

    first_frames = FIRST_FRAMES

    def __init__(
        self, config: CosyVoice2Config, hops: Hops, guard: GuardPolicy | None = None
    ) -> None:
        """Raises EnvironmentProblem for hops that the checkpoint's chunks do not allow."""
        flow = config.flow
        self._config, self._guard = config, guard or GuardPolicy()
        given = {name: value for name, value in vars(hops).items() if value is not None}
        self.chunks = ChunkPolicy(chunk=flow.chunk_size, lookahead=flow.pre_lookahead_len, **given)

    @cached_property
    def rates(self) -> Rates:
        codes = Fraction(CODES_PER_SECOND)
        frames = codes * self._config.flow.token_mel_ratio
        return Rates(codes, frames, Fraction(self._config.sample_rate))

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        sampling = self._config.sampling
        return (
            int(sampling.min_tokens_per_text_token * target_tokens),
            int(sampling.max_tokens_per_text_token * target_tokens),
        )

    def codes(self, increment: Increment) -> Increment:
        """LLM ids to codes of the codebook."""
        return Increment(increment.ids - np.int32(self._config.llm.speech_offset))

    def guard(self) -> TokenGuard:
        return TokenGuard(self._guard, self._config.llm.speech_codes)

    def plan(self, voice: Voice, *, streaming: bool) -> tuple[ChunkPlanner, Voice]:
        """The start of the flow's prompt is dropped so that the first hop has its length."""
        tokens = len(voice.prompt_tokens)
        trim = self.chunks.prompt_trim(tokens) if streaming else 0
        voice = trim_prompt(voice, trim, self._config.flow.token_mel_ratio)
        return ChunkPlanner(self.chunks, tokens - trim), voice


def trim_prompt(voice: Voice, tokens: int, ratio: int) -> Voice:
    """A voice without the first `tokens` of its prompt and their mel frames."""
    if not tokens:
        return voice
    return replace(
        voice,
        prompt_tokens=voice.prompt_tokens[tokens:],
        prompt_mel=voice.prompt_mel[tokens * ratio :],
    )

"""IndexTTS2's rules of speech. Sans-I/O: no clock, no lock, no sleep, no torch."""

from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from tritone.arrays import Int32
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.pace import VOCODER_CONTEXT, frames_of
from tritone.families.indextts2.planner import HopPlanner, HopPolicy
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import Increment, OpenText, Prompt, SamplingParams
from tritone.synthesis.rules import Hops, Rates
from tritone.synthesis.token_guard import TokenGuard
from tritone.synthesis.values import Segment

CODES_PER_SECOND = 50  # of the codec; in speech each takes 43/25 frames, a little less than 20 ms
MOST_CODES = 1500  # of a segment, as upstream has it
RETRIED_TOP_K = 30  # of a generation that failed when it was greedy, as upstream samples


class SpeechConfig(Protocol):
    """The part of the configuration that the rules read."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def flow(self) -> FlowConfig: ...

    @property
    def vocoder(self) -> VocoderConfig: ...


class CodeGuard(TokenGuard):
    """With limits for 50 codes a second."""

    longest_run = 2 * TokenGuard.longest_run
    longest_cycle = 2 * TokenGuard.longest_cycle
    unsuspected = 2 * TokenGuard.unsuspected
    shortest = 2 * TokenGuard.shortest


class IndexTTS2Rules:
    """`tritone.synthesis.rules.SpeechRules` of one checkpoint."""

    first_frames = 2 * VOCODER_CONTEXT  # half of which the vocoder gives out at once

    def __init__(self, config: SpeechConfig, hops: Hops) -> None:
        """Raises EnvironmentProblem for hops that give no frames."""
        rate, frame = config.sample_rate, config.vocoder.samples_per_frame
        self.rates = Rates(Fraction(CODES_PER_SECOND), Fraction(rate, frame), Fraction(rate))
        given = {name: value for name, value in vars(hops).items() if value is not None}
        self.hops = HopPolicy(**given)
        self.chunk_frames = frames_of(self.hops.max_hop)
        self._codes = config.flow.codes

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        """The same for every text: upstream knows no others."""
        return 0, MOST_CODES

    def codes(self, increment: Increment) -> Increment:
        """The language model's ids of speech are the codes."""
        return increment

    def guard(self, segment: Segment) -> CodeGuard:
        return CodeGuard(self._codes)

    def text_begins(self, segment: Segment) -> int | None:
        """No head of the language model tells what it says."""
        return None

    @property
    def interleaves(self) -> bool:
        """It was not taught to speak while its text is being written."""
        return False

    def text_ids(self, segment: Segment) -> Int32:
        raise AssertionError("nothing of this family interleaves")

    def opened(self, prompt: Prompt, segment: Segment, *, ended: bool) -> tuple[Prompt, OpenText]:
        raise AssertionError("nothing of this family interleaves")

    def continued(self, prompt: Prompt, codes: Increment) -> Prompt:
        raise AssertionError("nothing tells which text is left, so nothing goes on")

    def retried(self, sampling: SamplingParams) -> SamplingParams:
        """Greedy decoding would fail again as it did before: another seed changes nothing."""
        return replace(sampling, top_k=RETRIED_TOP_K) if sampling.top_k == 1 else sampling

    def plan(self, voice: Voice, *, streaming: bool) -> tuple[HopPlanner, Voice]:
        return HopPlanner(self.hops), voice

"""CosyVoice2's rules of speech: when tokens go to the flow. Sans-I/O: no clock, no lock, no sleep,
no torch."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np

from tritone.arrays import Int32
from tritone.errors import EnvironmentProblem
from tritone.families.cosyvoice2.config import AHEAD, REREAD, SPEECH_TURN, TEXT_TURN, SpeechIds
from tritone.families.cosyvoice2.voice import Voice, trim_prompt
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import Increment, OpenText, Prompt, Rereads, SamplingParams, Turns
from tritone.synthesis.rules import Hops, Rates
from tritone.synthesis.token_guard import NO_CODES, TokenGuard
from tritone.synthesis.values import Segment

CODES_PER_SECOND = 25
RETRIED_TOP_K = 25  # of a generation that failed when it was greedy, as upstream samples


class ChunkedFlow(Protocol):
    """The numbers of a flow that hops depend on."""

    @property
    def chunk_size(self) -> int: ...

    @property
    def pre_lookahead_len(self) -> int: ...

    @property
    def token_mel_ratio(self) -> int: ...


class ChunkedConfig(SpokenConfig, Protocol):
    """The part of the configuration that the rules read."""

    @property
    def llm(self) -> SpeechIds: ...

    @property
    def flow(self) -> ChunkedFlow: ...


@dataclass(frozen=True)
class ChunkPolicy:
    """chunk, lookahead: of the checkpoint, in tokens. The rest is the deployment's choice.

    A choice that cannot be kept raises EnvironmentProblem.

    first_hop: tokens that the first audio should wait for, 1..chunk; reached by trimming the flow's
        prompt, so without a prompt the first hop is a whole chunk.
    max_hop: largest hop, in tokens, at least a chunk. Larger costs less and is computed later.
    reserve: a hop grows only while the audio already sent covers this many times its cost, or
        where nothing is left of it and the tokens have come already.
    """

    chunk: int
    lookahead: int
    first_hop: int = 15
    max_hop: int = 100
    reserve: float = 2.0

    def __post_init__(self) -> None:
        for name, low, high in (("first_hop", 1, self.chunk), ("max_hop", self.chunk, None)):
            value = getattr(self, name)
            if value < low or (high and value > high):
                limits = f"{low} to {high}" if high else f"at least {low}"
                raise EnvironmentProblem(f"setting {name} is {value}; it must be {limits} tokens")

    def prompt_trim(self, prompt_tokens: int) -> int:
        """Tokens to drop from the start of the flow's prompt so that the first hop is `first_hop`.

        At most chunk - 1, and none when the prompt is shorter than that.
        """
        trim = (prompt_tokens + self.first_hop) % self.chunk
        return trim if trim <= prompt_tokens else 0


class ChunkPlanner:
    """`tritone.synthesis.rules.Planner` of one segment.

    The flow computes whole attention chunks, counted from the first prompt token, each once its
    look-ahead is known. A hop is what one call completes: some whole chunks, or at the start what
    the prompt left open of its last one.
    """

    def __init__(self, policy: ChunkPolicy, prompt_tokens: int) -> None:
        self._policy = policy
        self._tokens = np.zeros(0, dtype=np.int32)
        self._sent = 0
        self._boundary = policy.chunk - prompt_tokens % policy.chunk

    def push(self, increment: Increment) -> None:
        self._tokens = np.concatenate([self._tokens, increment.ids])

    @property
    def received(self) -> int:
        return len(self._tokens)

    @property
    def ready(self) -> bool:
        return self.received >= self._boundary + self._policy.lookahead

    def take(
        self, seconds_ahead: float, seconds_per_token: float, *, alone: bool = False
    ) -> Increment:
        """See `Planner.take`. The seconds choose the size of the hop after this one; a stream that
        is alone and late already has all whole chunks at once."""
        assert self.ready
        if alone and self._sent and seconds_ahead < 0:
            self._boundary += self._backlog()
        until = self._boundary + self._policy.lookahead
        tokens = Increment(self._tokens[self._sent : until])
        self._sent = until
        self._boundary += self._next_hop(seconds_ahead, seconds_per_token)
        return tokens

    def rest(self) -> Increment:
        tokens = Increment(self._tokens[self._sent :])
        self._sent = self.received
        return tokens

    def _backlog(self) -> int:
        """Tokens of the whole chunks that have come beyond the next hop, as far as a hop may go."""
        chunk = self._policy.chunk
        beyond = self.received - self._policy.lookahead - self._boundary
        room = self._policy.max_hop - (self._boundary + self._policy.lookahead - self._sent)
        return max(0, min(beyond, room) // chunk * chunk)

    def _next_hop(self, seconds_ahead: float, seconds_per_token: float) -> int:
        hop = self._policy.chunk
        while (
            2 * hop <= self._policy.max_hop
            and 2 * hop * seconds_per_token * self._policy.reserve <= seconds_ahead
        ):
            hop *= 2
        return hop


class CosyVoice2Rules:
    """`tritone.synthesis.rules.SpeechRules` of one checkpoint."""

    first_frames = 18
    planner = ChunkPlanner
    interleaves = True

    def __init__(self, config: ChunkedConfig, hops: Hops) -> None:
        """Raises EnvironmentProblem for hops that the checkpoint's chunks do not allow."""
        self._config, flow, codes = config, config.flow, Fraction(CODES_PER_SECOND)
        self.rates = Rates(codes, codes * flow.token_mel_ratio, Fraction(config.sample_rate))
        self.chunk_frames = flow.chunk_size * flow.token_mel_ratio
        given = {name: value for name, value in vars(hops).items() if value is not None}
        self.chunks = ChunkPolicy(chunk=flow.chunk_size, lookahead=flow.pre_lookahead_len, **given)

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        sampling = self._config.sampling
        least, most = sampling.min_tokens_per_text_token, sampling.max_tokens_per_text_token
        return int(least * target_tokens), int(sampling.tokens_beside + most * target_tokens)

    def codes(self, increment: Increment) -> Increment:
        """LLM ids to codes of the codebook."""
        return replace(increment, ids=increment.ids - np.int32(self._config.llm.speech_offset))

    def guard(self, segment: Segment) -> TokenGuard:
        """A text that the reference says too may sound as it does there."""
        ids, codes = segment.prompt.ids, self._config.llm.speech_codes
        assert ids is not None and isinstance(segment.voice, Voice)
        prompt = segment.voice.prompt_tokens
        if not len(prompt):
            return TokenGuard(codes)
        begins = self._text_begins(segment)
        text = ids[begins : begins + segment.target_tokens]
        same = text.tobytes() in ids[:begins].tobytes()
        return TokenGuard(codes, NO_CODES if same else prompt)

    def text_begins(self, segment: Segment) -> int | None:
        return self._text_begins(segment) if self._config.llm.text_heads else None

    def _text_begins(self, segment: Segment) -> int:
        ids = segment.prompt.ids
        assert ids is not None, "CosyVoice2's prompts are ids"
        (end,) = np.flatnonzero(ids == self._config.llm.task_id)[:1]
        return int(end) - segment.target_tokens

    @property
    def fill_id(self) -> int:
        """What the language model gives where it wants more text: the last of its stop ids."""
        return self._config.llm.stop_ids[-1]

    def text_ids(self, segment: Segment) -> Int32:
        begins = self._text_begins(segment)
        assert segment.prompt.ids is not None
        return segment.prompt.ids[begins : begins + segment.target_tokens]

    def opened(self, prompt: Prompt, segment: Segment, *, ended: bool) -> tuple[Prompt, OpenText]:
        """Where the text is read anew, a transcript stands before it; it takes turns otherwise."""
        ids, closing = prompt.ids, self._config.llm.task_id
        assert ids is not None
        (task,) = np.flatnonzero(ids == closing)[:1]
        way: Turns | Rereads = Turns(TEXT_TURN, SPEECH_TURN, self.fill_id, closing)
        opening = segment.opening
        if self._config.llm.text_heads:
            way, opening = Rereads(REREAD, AHEAD, closing), self._text_begins(segment)
        return Prompt(ids[:opening]), OpenText(way, ids[opening:task], ids[task + 1 :], ended)

    def continued(self, prompt: Prompt, codes: Increment) -> Prompt:
        """The prompt of a generation that goes on after some codes of an earlier one."""
        assert prompt.ids is not None
        offset = np.int32(self._config.llm.speech_offset)
        return Prompt(np.concatenate([prompt.ids, codes.ids + offset]))

    def retried(self, sampling: SamplingParams) -> SamplingParams:
        """Greedy decoding would fail again as it did before: another seed changes nothing."""
        top_k = self._config.sampling.top_k if sampling.top_k is None else sampling.top_k
        return sampling if top_k > 1 else replace(sampling, top_k=RETRIED_TOP_K)

    def plan(self, voice: Voice, *, streaming: bool) -> tuple[ChunkPlanner, Voice]:
        """The start of the flow's prompt is dropped so that the first hop has its length."""
        tokens = len(voice.prompt_tokens)
        trim = self.chunks.prompt_trim(tokens) if streaming else 0
        voice = trim_prompt(voice, trim, self._config.flow.token_mel_ratio)
        return self.planner(self.chunks, tokens - trim), voice

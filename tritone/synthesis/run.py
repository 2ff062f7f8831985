"""What the parts of the pipeline know of the request that they work on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tritone.errors import Cancelled
from tritone.synthesis.deadlines import StageTurns, Turns
from tritone.synthesis.live_text import TextSource
from tritone.synthesis.rules import SpeechRules, Stages
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import SynthesisRequest


@dataclass
class Tries:
    """Of one segment. used: attempts that were given up. began: when the first one did, in seconds
    since the request arrived."""

    began: float
    used: int = 0


@dataclass(frozen=True)
class Run:
    """What the segments of one request share.

    text: what is spoken, in the place of the request's. max_tokens: of one segment. attempts:
    generations of one, where the ones before were flawed. retry_seconds: that the first audio may
    be late because of them.
    """

    request: SynthesisRequest
    text: TextSource
    stages: Stages
    rules: SpeechRules
    max_tokens: int
    attempts: int
    retry_seconds: float
    timing: Timing
    cancelled: Callable[[], bool]
    seed: int
    turns: StageTurns

    def turn(self, stage: Turns) -> AbstractContextManager[None]:
        """A turn at a stage, as urgent as this stream's playback."""
        begun = self.timing.playback.first is not None
        seconds = self.timing.ahead if begun else -self.timing.elapsed()
        return stage.turn(seconds, begun=begun)

    def check_cancelled(self) -> None:
        if self.cancelled():
            raise Cancelled

    def exhausted(self, tries: Tries) -> bool:
        """Whether the present attempt is the last one."""
        return tries.used + 1 >= self.attempts

    def late(self, tries: Tries) -> bool:
        """Whether nobody has heard anything yet, and should not wait for another attempt."""
        waited = self.timing.elapsed() - tries.began
        return self.timing.playback.first is None and waited > self.retry_seconds

    def try_again(self, tries: Tries) -> None:
        """Count an attempt that is given up."""
        tries.used += 1
        self.timing.retries += 1

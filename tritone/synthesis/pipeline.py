"""From a request to audio chunks, over whatever runs the stages.

Three things go on at once for one request: the language model decodes, the flow turns the tokens so
far into acoustic frames, and the vocoder turns the frames before that into audio. The next
segment's generation starts as soon as this one's has ended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from tritone.errors import InvalidRequest
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits, check
from tritone.synthesis.live_text import MODE_FIELD, LiveText, TextMode, TextSource, WholeText
from tritone.synthesis.pieces import Pieces
from tritone.synthesis.rules import SpeechRules, Stages
from tritone.synthesis.run import Run
from tritone.synthesis.speaking import Speaking
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import AudioChunk, SynthesisRequest


@dataclass(frozen=True)
class Settings:
    """What the deployment decides. max_segment_seconds: of speech, to end a generation that has
    lost the text. attempts: generations of one segment, where the ones before were flawed.
    max_retry_seconds: that the first audio may be late because of them; after it the best attempt
    so far is spoken."""

    limits: Limits = field(default_factory=Limits)
    max_segment_seconds: float = 60.0
    attempts: int = 4
    max_retry_seconds: float = 5.0


def synthesize(
    request: SynthesisRequest,
    stages: Stages,
    rules: SpeechRules,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
    turns: StageTurns | None = None,
    timing: Timing | None = None,
    live: LiveText | None = None,
) -> Iterator[AudioChunk]:
    """Speak a request: chunks of audio, the last of which carries the whole timing record.

    rules: of the family whose models the stages run. turns: of the stages, shared by all streams
    that run on them; None where there is one stream. timing: the record that is kept, where the
    caller began it or wants it after a failure too. live: the text, in place of the request's.

    Raises InvalidRequest before any work, StageFailed when a stage breaks, and Cancelled once
    `cancelled()` is true. However it ends, also by closing the iterator, all it held is freed.
    """
    check(request, settings.limits, text_follows=live is not None)
    given = request.sampling.seed
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
    turns, timing = turns or StageTurns(), timing or Timing(rules.rates.sample_rate)
    text = timing.text = _source(request, live, stages, rules)
    run = Run(
        request,
        text,
        stages,
        rules,
        int(settings.max_segment_seconds * rules.rates.tokens),
        settings.attempts,
        settings.max_retry_seconds,
        timing,
        cancelled,
        seed,
        turns,
    )
    with Pieces(run) as pieces:
        yield from Speaking(run, pieces).chunks()


def _source(
    request: SynthesisRequest, live: LiveText | None, stages: Stages, rules: SpeechRules
) -> TextSource:
    if live is None:
        return WholeText(request.text)
    live.may_grow = _may_grow(live.mode, stages, rules)
    return live


def _may_grow(mode: TextMode, stages: Stages, rules: SpeechRules) -> bool:
    """Whether parts of a text grow; raises InvalidRequest where they should and cannot."""
    if mode is TextMode.SENTENCES:
        return False
    lack = ""
    if not rules.interleaves:
        lack = "this model does not read text while it speaks"
    elif not stages.takes_open_text:
        lack = "the runtime of this server's language model cannot add to a text"
    if lack and mode is TextMode.INTERLEAVED:
        others = f"{TextMode.SENTENCES.value} or {TextMode.AUTO.value}"
        raise InvalidRequest(MODE_FIELD, f"is {mode.value}, and {lack}; take {others}")
    return not lack

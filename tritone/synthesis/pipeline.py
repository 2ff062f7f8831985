"""From a request to audio chunks, over whatever runs the stages.

Three things go on at once for one request: the language model decodes, the flow turns the tokens so
far into acoustic frames, and the vocoder turns the frames before that into audio. The next
segment's generation starts as soon as this one's has ended.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.arrays import Float32
from tritone.errors import StageFailed
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits, check
from tritone.synthesis.rules import SpeechRules, Stages, VocoderSession
from tritone.synthesis.run_ahead import RunAhead, awaited
from tritone.synthesis.segment_speech import Run, SegmentSpeech
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import AudioChunk, Segment, SynthesisRequest

FADE_SECONDS = 0.02  # at the end of speech that was cut


@dataclass(frozen=True)
class Settings:
    """What the deployment decides. max_segment_seconds: of speech, to end a generation that has
    lost the text. attempts: generations of one segment, where the ones before were flawed."""

    limits: Limits = field(default_factory=Limits)
    max_segment_seconds: float = 60.0
    attempts: int = 4


@dataclass(frozen=True)
class Piece:
    """Frames of a segment, (bins, frames), and whether it or the whole speech ends with them. cut:
    whether it ends earlier than its generation did."""

    frames: Float32
    segment: Segment
    ends_segment: bool = False
    cut: bool = False
    ends_speech: bool = False


def synthesize(
    request: SynthesisRequest,
    stages: Stages,
    rules: SpeechRules,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
    turns: StageTurns | None = None,
    timing: Timing | None = None,
) -> Iterator[AudioChunk]:
    """Speak a request: chunks of audio, the last of which carries the whole timing record.

    rules: of the family whose models the stages run. turns: of the stages, shared by all streams
    that run on them; None where there is one stream. timing: the record that is kept, where the
    caller began it or wants it after a failure too.

    Raises InvalidRequest before any work, StageFailed when a stage breaks, and Cancelled once
    `cancelled()` is true. However it ends, also by closing the iterator, all it held is freed.
    """
    check(request, settings.limits)
    given = request.sampling.seed
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
    over = threading.Event()  # the other thread need not go on to its next hop

    def unwanted() -> bool:
        return over.is_set() or cancelled()

    turns, timing = turns or StageTurns(), timing or Timing(rules.rates.sample_rate)
    timing.text_length = len(request.text)
    longest = int(settings.max_segment_seconds * rules.rates.tokens)
    run = Run(request, stages, rules, longest, settings.attempts, timing, unwanted, seed, turns)
    with RunAhead(_pieces(run)) as pieces:
        try:
            yield from _audio(_early(pieces, run), run)
        finally:
            over.set()


def _pieces(run: Run) -> Generator[Piece, None, None]:
    """Text to acoustic frames, segment after segment."""
    prepared = run.stages.prepare(run.request)
    segments: Iterator[tuple[int, Segment | None]] = enumerate(prepared)
    speaking = upcoming = None

    def begin_next() -> SegmentSpeech | None:
        index, segment = next(segments, (0, None))
        run.timing.mark("frontend")
        return None if segment is None else SegmentSpeech(run, segment, index)

    try:
        speaking = begin_next()
        if speaking is None:
            raise StageFailed("frontend", "gave no segment")
        while speaking:
            segment = speaking.segment
            for frames in speaking.hops():
                yield Piece(frames, segment)
            upcoming = begin_next()
            rest, cut = speaking.rest(), speaking.cut
            yield Piece(rest, segment, True, cut, ends_speech=upcoming is None)
            speaking.close()
            speaking, upcoming = upcoming, None
    finally:
        for open_speech in (speaking, upcoming):
            if open_speech:
                open_speech.close()
        if isinstance(prepared, Generator):
            prepared.close()  # after an error its traceback would keep it open


def _early(pieces: RunAhead[Piece], run: Run) -> Iterator[Piece]:
    """Split the first piece of a stream, so that its first samples do not wait for the rest."""
    later, few = iter(pieces), run.rules.first_frames
    first = next(later)
    if run.request.streaming and first.frames.shape[1] > few:
        yield Piece(first.frames[:, :few], first.segment)
        first = replace(first, frames=first.frames[:, few:])
    yield first
    yield from later


def _audio(pieces: Iterator[Piece], run: Run) -> Iterator[AudioChunk]:
    """Frames to audio; each segment has a vocoder session of its own.

    Unless the request is streamed, the whole speech is one chunk.
    """
    vocoder: VocoderSession | None = None
    waves: list[Float32] = []
    made = 0  # samples
    for piece in awaited(pieces, run.timing.waiting_for_frames):
        with run.timing.spending("vocoder"):
            run.check_cancelled()
            if vocoder is None:
                speed = min(max(run.request.speed * piece.segment.speed, SLOWEST), FASTEST)
                vocoder = run.stages.open_vocoder(seed=run.seed, speed=speed)
                waves.append(_silence(piece.segment.pause, run))
                made += len(waves[-1])
                run.timing.begins(piece.segment.start, made)
            waves.append(_wave(piece, vocoder, run))
            made += len(waves[-1])
            if piece.ends_segment:
                run.timing.ends(made)
                waves.append(_silence(piece.segment.pause_after, run))
                made += len(waves[-1])
                vocoder = None
        if piece.ends_speech or (run.request.streaming and any(map(len, waves))):
            with run.timing.spending("send"):
                wave = np.concatenate(waves)
                run.timing.packet(wave, last=piece.ends_speech)
                yield AudioChunk(wave, run.timing.record(), piece.ends_speech)
                waves.clear()


def _wave(piece: Piece, vocoder: VocoderSession, run: Run) -> Float32:
    with run.turns.vocoder.turn(run.seconds_left):
        wave = vocoder.step(piece.frames, finalize=piece.ends_segment)
    if not np.isfinite(wave).all():
        raise StageFailed("vocoder", "gave samples that are not finite")
    return _faded(wave, run) if piece.cut else wave


def _faded(wave: Float32, run: Run) -> Float32:
    """The end of speech that was cut: it goes to silence, and there is some after it."""
    samples = round(FADE_SECONDS * run.rules.rates.samples)
    count = min(len(wave), samples)
    wave = np.pad(wave, (0, samples))
    wave[len(wave) - samples - count : len(wave) - samples] *= np.linspace(
        1, 0, count, dtype=np.float32
    )
    return wave


def _silence(seconds: float, run: Run) -> Float32:
    return np.zeros(round(seconds * run.rules.rates.samples), np.float32)

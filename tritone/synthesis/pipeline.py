"""From a request to audio chunks, over whatever runs the stages.

Three things go on at once for one request: the language model decodes, the flow turns the tokens so
far into mel, and the vocoder turns the mel before that into audio. The next segment's generation
starts as soon as this one's has ended.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from tritone.arrays import Float32
from tritone.config import ModelConfig
from tritone.errors import StageFailed
from tritone.families.cosyvoice2.chunk_planner import ChunkPolicy
from tritone.families.cosyvoice2.guard import GuardPolicy
from tritone.synthesis.deadlines import StageTurns
from tritone.synthesis.limits import Limits, check
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.segment_speech import Run, SegmentSpeech, SpeechPolicy
from tritone.synthesis.stages import Stages, VocoderSession
from tritone.synthesis.timing import Timing
from tritone.synthesis.values import AudioChunk, Segment, SynthesisRequest


@dataclass(frozen=True)
class Settings:
    """What the deployment decides."""

    limits: Limits = field(default_factory=Limits)
    guard: GuardPolicy = field(default_factory=GuardPolicy)
    first_hop: int = 15  # tokens that the first audio waits for, where the prompt allows it
    max_hop: int = 100
    first_frames: int = 24  # of the first hop's mel that the vocoder gets before the rest
    max_segment_tokens: int = 1500  # one minute
    attempts: int = 2

    def speech_policy(self, config: ModelConfig) -> SpeechPolicy:
        chunks = ChunkPolicy(
            chunk=config.flow.chunk_size,
            lookahead=config.flow.pre_lookahead_len,
            first_hop=self.first_hop,
            max_hop=self.max_hop,
        )
        return SpeechPolicy(chunks, self.guard, self.max_segment_tokens, self.attempts)


@dataclass(frozen=True)
class MelPiece:
    """Some frames, (mel, frames), and whether a segment or the whole speech ends with them."""

    mel: Float32
    ends_segment: bool
    ends_speech: bool


def synthesize(
    request: SynthesisRequest,
    stages: Stages,
    config: ModelConfig,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
    turns: StageTurns | None = None,
    timing: Timing | None = None,
) -> Iterator[AudioChunk]:
    """Speak a request: chunks of audio, the last of which carries the whole timing record.

    turns: of the stages, shared by all streams that run on them; None where there is one stream.
    timing: the record that is kept, where the caller began it or wants it after a failure too.

    Raises InvalidRequest before any work, StageFailed when a stage breaks, and Cancelled once
    `cancelled()` is true. However it ends, also by closing the iterator, all it held is freed.
    """
    check(request, settings.limits)
    given = request.sampling.seed
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
    over = threading.Event()  # the other thread need not go on to its next hop

    def unwanted() -> bool:
        return over.is_set() or cancelled()

    policy, turns = settings.speech_policy(config), turns or StageTurns()
    timing = timing or Timing(config.sample_rate)
    run = Run(request, stages, config, policy, timing, unwanted, seed, turns)
    with RunAhead(_mels(run)) as pieces:
        try:
            yield from _audio(_early(pieces, request, settings.first_frames), run)
        finally:
            over.set()


def _mels(run: Run) -> Generator[MelPiece, None, None]:
    """Text to mel, segment after segment."""
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
            for mel in speaking.hops():
                yield MelPiece(mel, ends_segment=False, ends_speech=False)
            upcoming = begin_next()
            yield MelPiece(speaking.rest(), ends_segment=True, ends_speech=upcoming is None)
            speaking.close()
            speaking, upcoming = upcoming, None
    finally:
        for open_speech in (speaking, upcoming):
            if open_speech:
                open_speech.close()
        if isinstance(prepared, Generator):
            prepared.close()  # after an error its traceback would keep it open


def _early(
    pieces: RunAhead[MelPiece], request: SynthesisRequest, frames: int
) -> Iterator[MelPiece]:
    """Split the first piece of a stream, so that its first samples do not wait for the rest."""
    first = True
    for piece in pieces:
        if first and request.streaming and piece.mel.shape[1] > frames:
            yield MelPiece(piece.mel[:, :frames], ends_segment=False, ends_speech=False)
            piece = replace(piece, mel=piece.mel[:, frames:])
        first = False
        yield piece


def _audio(pieces: Iterator[MelPiece], run: Run) -> Iterator[AudioChunk]:
    """Mel to audio; each segment has a vocoder session of its own.

    Unless the request is streamed, the whole speech is one chunk.
    """
    vocoder: VocoderSession | None = None
    waves: list[Float32] = []
    for piece in _waited_for(pieces, run.timing):
        with run.timing.spending("vocoder"):
            run.check_cancelled()
            if vocoder is None:
                vocoder = run.stages.open_vocoder(seed=run.seed, speed=run.request.speed)
            waves.append(_wave(piece, vocoder, run))
            vocoder = None if piece.ends_segment else vocoder
        if piece.ends_speech or (run.request.streaming and len(waves[-1])):
            with run.timing.spending("send"):
                yield _chunk(np.concatenate(waves), run, last=piece.ends_speech)
                waves.clear()


def _waited_for(pieces: Iterator[MelPiece], timing: Timing) -> Iterator[MelPiece]:
    """The pieces, with the time that was spent waiting for each."""
    while True:
        with timing.waiting_for_mel():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _chunk(wave: Float32, run: Run, *, last: bool) -> AudioChunk:
    run.timing.packet(wave)
    if last:
        run.timing.end()
    return AudioChunk(wave, run.timing.record(), last)


def _wave(piece: MelPiece, vocoder: VocoderSession, run: Run) -> Float32:
    with run.turns.vocoder.turn(run.seconds_left):
        wave = vocoder.step(piece.mel, finalize=piece.ends_segment)
    if not np.isfinite(wave).all():
        raise StageFailed("vocoder", "gave samples that are not finite")
    return wave

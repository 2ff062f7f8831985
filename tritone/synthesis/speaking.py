"""From acoustic frames to the chunks of audio that leave."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np

from tritone.acoustic.tempo import FASTEST, SLOWEST
from tritone.arrays import Float32
from tritone.errors import StageFailed
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.pieces import Piece, Pieces, Place
from tritone.synthesis.rules import VocoderSession
from tritone.synthesis.run import Run
from tritone.synthesis.run_ahead import awaited
from tritone.synthesis.sound_guard import SoundGuard, first_bad, word_end
from tritone.synthesis.values import AudioChunk
from tritone.triton_models import FLOW, VOCODER

HELD_SECONDS = 0.01  # less than a pause between sentences has
FADE_SECONDS = 0.02  # at the end of speech that was cut


@dataclass(frozen=True)
class Broken:
    """A segment whose frames or samples are no numbers from some point on. sound: what there is
    before it, (n,)."""

    stage: str
    what: str
    sound: Float32

    @property
    def flaw(self) -> Flaw:
        return Flaw("not_finite", f"gave {self.what} that are not finite")


class Speaking:
    """Each segment has a vocoder session of its own. Unless the request is streamed, the whole
    speech is one chunk.

    A segment whose sound is flawed is spoken again, as long as nothing of it could be heard.
    """

    def __init__(self, run: Run, pieces: Pieces) -> None:
        self._run, self._pieces = run, pieces
        self._waves: list[Float32] = []  # that have not left
        self._place: Place | None = None
        self._vocoder: VocoderSession | None = None
        self._heard = False  # whether some of the segment has left that can be heard
        self._made = 0  # samples
        self._mark = 0, 0  # waves that wait, and samples made, before the segment's own

    def chunks(self) -> Iterator[AudioChunk]:
        while again := (yield from self._spoken()):
            del self._waves[self._mark[0] :]
            self._made, self._vocoder = self._mark[1], None
            self._pieces.begin_again(again)

    def _spoken(self) -> Generator[AudioChunk, None, Place | None]:
        """Returns the segment that is to be spoken again, if one is."""
        for piece in awaited(iter(self._pieces), self._run.timing.waiting_for_frames):
            if piece.over:
                yield self._chunk(last=True)
                break
            with self._run.timing.spending("vocoder"):
                self._run.check_cancelled()
                if self._vocoder is None:
                    self._begin(piece)
                taken = self._take(piece)
                flaw = taken.flaw if isinstance(taken, Broken) else taken
                if flaw:
                    self._run.timing.flaw(flaw, f"sound of {piece.segment.text!r}")
                    if self._may_begin_again(piece.place):
                        return piece.place
            if isinstance(taken, Broken):
                yield from self._failed(taken)
            if piece.ends_segment:
                self._end(piece)
            # the last packet has samples, also where it is known late that it is the last one
            held = self._held if piece.more_may_come else 0
            made = sum(map(len, self._waves))
            if piece.ends_speech or (self._run.request.streaming and made > held):
                yield self._chunk(last=piece.ends_speech, held=held)
        return None

    def _begin(self, piece: Piece) -> None:
        run, segment = self._run, piece.segment
        speed = min(max(run.request.speed * segment.speed, SLOWEST), FASTEST)
        self._vocoder = run.stages.open_vocoder(seed=run.seed, speed=speed)
        self._guard = SoundGuard(run.rules.rates.sample_rate, speed)
        if piece.place is not self._place:  # the first time
            self._place, self._heard = piece.place, False
            self._add(_silence(segment.pause, run))
            run.timing.begins(segment.start, self._made)
            self._mark = len(self._waves), self._made

    def _end(self, piece: Piece) -> None:
        self._run.timing.ends(self._made)
        self._add(_silence(piece.segment.pause_after, self._run))
        self._vocoder = None

    def _take(self, piece: Piece) -> Flaw | Broken | None:
        """Add a piece's sound unless it is broken; returns what is wrong with it."""
        assert self._vocoder is not None
        bad = first_bad(piece.frames)
        frames = piece.frames if bad is None else piece.frames[:, :bad]
        with self._run.turn(self._run.turns.vocoder):
            cuts = [cut for cut in piece.cuts if cut < frames.shape[1]]
            finalize = piece.ends_segment or bad is not None
            wave = self._vocoder.step(frames, cuts=cuts, finalize=finalize)
        end = first_bad(wave)
        if bad is not None:
            return Broken(FLOW, "frames", wave[:end])
        if end is not None:
            return Broken(VOCODER, "samples", wave[:end])
        if piece.broken_off:
            wave = wave[: word_end(wave, self._guard.rate)]
        wave, flaw = self._guard.admit(_faded(wave, self._run) if piece.cut else wave)
        self._add(wave)
        return flaw

    def _may_begin_again(self, place: Place) -> bool:
        run = self._run
        return not (self._heard or run.exhausted(place.tries) or run.late(place.tries))

    def _failed(self, broken: Broken) -> Iterator[AudioChunk]:
        """The end of a stream that cannot be healed: what has not left of it ends at a word."""
        if self._heard:
            said = broken.sound[: word_end(broken.sound, self._guard.rate)]
            wave, _ = self._guard.admit(_faded(said, self._run))
            self._add(wave)
            yield self._chunk(last=False)
        seconds = self._run.timing.playback.audio
        raise StageFailed(broken.stage, f"{broken.flaw.problem}, after {seconds:.1f} s of audio")

    def _add(self, wave: Float32) -> None:
        self._waves.append(wave)
        self._made += len(wave)

    @property
    def _held(self) -> int:
        """Samples at the end of a segment that wait for the next text; they are not missed."""
        return int(HELD_SECONDS * self._run.rules.rates.samples)

    def _chunk(self, *, last: bool, held: int = 0) -> AudioChunk:
        """What waits, as it leaves. held: samples of it that do not."""
        wave = np.concatenate(self._waves)
        self._waves = [wave[len(wave) - held :]] if held else []
        wave = wave[: len(wave) - held]
        self._mark, self._heard = (len(self._waves), self._made), self._guard.audible
        self._run.timing.packet(wave, last=last)
        return AudioChunk(wave, self._run.timing.record(), last)


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

"""Manifest items to wave files, several at once, and where the time of each goes."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from tritone.arrays import Float32
from tritone.errors import StageFailed, TritoneError
from tritone.frontend.voices import VOICES_CACHED
from tritone.llm.contract import Generation, GenerationRequest, Increment, MoreText
from tritone.local.offline.manifest import Item
from tritone.local.tts import LocalStages
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Cuts, FlowSession, VocoderSession
from tritone.synthesis.run_ahead import awaited
from tritone.synthesis.values import Segment, SynthesisRequest
from tritone.voice import Voice

MAX_BATCH = VOICES_CACHED  # with more at once, a voice could be made twice


@dataclass
class StageSeconds:
    """Seconds that one utterance waited for each stage.

    recording: reading the recording of the voice. voice: turning it into a voice (resampling,
    speech tokenizer, mel, speaker encoder), or loading the registered one. text: normalising,
    cutting and tokenising. llm: speech tokens. flow: tokens to frames. vocoder: frames to samples.
    save: writing the file.

    Each is written by one thread alone; stages of one utterance may overlap.
    """

    recording: float = 0.0
    voice: float = 0.0
    text: float = 0.0
    llm: float = 0.0
    flow: float = 0.0
    vocoder: float = 0.0
    save: float = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, stage, getattr(self, stage) + time.perf_counter() - begin)


class MeasuredStages:
    """`pipeline.Stages` for one utterance, over the stages that all utterances share."""

    def __init__(self, stages: LocalStages, seconds: StageSeconds) -> None:
        self._stages, self._seconds = stages, seconds
        self.takes_open_text = stages.takes_open_text

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        with self._seconds.measure("voice"):
            self._stages.frontend.voice_of(request)  # cached: `prepare` finds it there
        with self._seconds.measure("text"):
            segments = self._stages.prepare(request)
        return awaited(segments, partial(self._seconds.measure, "text"))

    def generate(self, request: GenerationRequest) -> "_MeasuredGeneration":
        with self._seconds.measure("llm"):
            return _MeasuredGeneration(self._stages.generate(request), self._seconds)

    def open_flow(self, voice: Voice, *, streaming: bool) -> "_MeasuredFlow":
        with self._seconds.measure("flow"):
            session = self._stages.open_flow(voice, streaming=streaming)
        return _MeasuredFlow(session, self._seconds)

    def open_vocoder(self, *, seed: int, speed: float) -> "_MeasuredVocoder":
        with self._seconds.measure("vocoder"):
            session = self._stages.open_vocoder(seed=seed, speed=speed)
        return _MeasuredVocoder(session, self._seconds)


@dataclass(frozen=True)
class _MeasuredGeneration:
    generation: Generation
    seconds: StageSeconds

    def __iter__(self) -> Iterator[Increment]:
        return awaited(iter(self.generation), partial(self.seconds.measure, "llm"))

    def cancel(self) -> None:
        self.generation.cancel()

    def extend(self, more: MoreText) -> None:
        self.generation.extend(more)


@dataclass(frozen=True)
class _MeasuredFlow:
    session: FlowSession
    seconds: StageSeconds

    def step(self, tokens: Increment, *, finalize: bool) -> Float32:
        with self.seconds.measure("flow"):
            return self.session.step(tokens, finalize=finalize)

    def close(self) -> None:
        self.session.close()


@dataclass(frozen=True)
class _MeasuredVocoder:
    session: VocoderSession
    seconds: StageSeconds

    def step(self, frames: Float32, *, cuts: Cuts = (), finalize: bool) -> Float32:
        with self.seconds.measure("vocoder"):
            return self.session.step(frames, cuts=cuts, finalize=finalize)


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    timing: the pipeline's own record (`tritone.synthesis.timing`), empty after a failure.
    problem: why there is no wave file; empty when there is one.
    """

    item: Item
    seconds: StageSeconds
    audio_s: float = 0.0
    timing: dict[str, object] = field(default_factory=dict)
    problem: str = ""


def wave_path(out: Path, item: Item) -> Path:
    """Where the speech of an item goes; a file of this name is always a whole one."""
    return out / f"{item.id}.wav"


def speak_all(
    items: Sequence[Item], stages: LocalStages, settings: Settings, out: Path, batch: int
) -> Generator[Outcome, None, None]:
    """Speak `batch` items at a time; yield what became of each as it ends.

    The language model advances all of them together, as far as it has slots. A failure of one item
    is its outcome; an OSError (no space, no permission) would meet them all and is raised. Closing
    the iterator stops the work.
    """
    assert 1 <= batch <= MAX_BATCH
    stop = threading.Event()
    pool = ThreadPoolExecutor(batch, thread_name_prefix="tritone-offline")
    try:
        work = [
            pool.submit(
                outcome_of, item, stages, settings, partial(_save, wave_path(out, item)), stop
            )
            for item in items
        ]
        for future in as_completed(work):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def outcome_of(
    item: Item,
    stages: LocalStages,
    settings: Settings,
    save: Callable[[Float32, int], None],
    stop: threading.Event,
) -> Outcome:
    """Speak one item. save: is given its samples and their rate. Raises OSError alone."""
    seconds, rate = StageSeconds(), stages.rules.rates.sample_rate
    try:
        with seconds.measure("recording"):
            request = item.load()
        measured = MeasuredStages(stages, seconds)
        chunks = list(synthesize(request, measured, stages.rules, settings, stop.is_set))
        wave = np.concatenate([chunk.samples for chunk in chunks])
        if not len(wave):
            raise StageFailed("vocoder", "gave no samples")
        with seconds.measure("save"):
            save(wave, rate)
    except OSError:
        raise
    except TritoneError as error:
        return Outcome(item, seconds, problem=str(error))
    except Exception as error:  # whatever broke this utterance must not end a night's work
        return Outcome(item, seconds, problem=f"{type(error).__name__}: {error}")
    return Outcome(item, seconds, len(wave) / rate, chunks[-1].timing)


def _save(path: Path, wave: Float32, rate: int) -> None:
    """Write 16-bit PCM; the file has its name only once it is whole."""
    draft = path.with_name(f".{path.name}.part")
    try:
        soundfile.write(draft, wave, rate, format="WAV", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise OSError(f"{draft} cannot be written: {error}") from error
    draft.replace(path)

"""Manifest items to wave files, several at once."""

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from tritone.arrays import Float32
from tritone.errors import StageFailed, TritoneError
from tritone.frontend.voices import VOICES_CACHED
from tritone.local.offline.manifest import Item
from tritone.local.offline.measure import MeasuredStages, StageSeconds
from tritone.local.stages import LocalStages
from tritone.synthesis.pipeline import Settings, synthesize

MAX_BATCH = VOICES_CACHED  # with more at once, a voice could be made twice


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
        work = [pool.submit(_outcome, item, stages, settings, out, stop) for item in items]
        for future in as_completed(work):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _outcome(
    item: Item, stages: LocalStages, settings: Settings, out: Path, stop: threading.Event
) -> Outcome:
    seconds = StageSeconds()
    try:
        wave, timing = _speak(item, seconds, stages, settings, stop)
        with seconds.measure("save"):
            _save(wave_path(out, item), wave, stages.rules.rates.sample_rate)
    except OSError:
        raise
    except TritoneError as error:
        return Outcome(item, seconds, problem=str(error))
    except Exception as error:  # whatever broke this utterance must not end a night's work
        return Outcome(item, seconds, problem=f"{type(error).__name__}: {error}")
    return Outcome(item, seconds, len(wave) / stages.rules.rates.sample_rate, timing)


def _speak(
    item: Item,
    seconds: StageSeconds,
    stages: LocalStages,
    settings: Settings,
    stop: threading.Event,
) -> tuple[Float32, dict[str, object]]:
    with seconds.measure("recording"):
        request = item.load()
    measured = MeasuredStages(stages, seconds)
    chunks = list(synthesize(request, measured, stages.rules, settings, stop.is_set))
    wave = np.concatenate([chunk.samples for chunk in chunks])
    if not len(wave):
        raise StageFailed("vocoder", "gave no samples")
    return wave, chunks[-1].timing


def _save(path: Path, wave: Float32, rate: int) -> None:
    """Write 16-bit PCM; the file has its name only once it is whole."""
    draft = path.with_name(f".{path.name}.part")
    try:
        soundfile.write(draft, wave, rate, format="WAV", subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise OSError(f"{draft} cannot be written: {error}") from error
    draft.replace(path)

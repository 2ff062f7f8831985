"""What is evaluated: a model in this process, a server, or a folder of wave files."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

import tritone
from evaluation.seams import seams_of
from evaluation.sentences import Sentence
from tritone.arrays import Float32
from tritone_client import SpeechClient, SpeechError, StreamMeter, Utterance

NO_SERVER = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


@dataclass(frozen=True)
class Speech:
    """One spoken sentence.

    samples: (n,) in [-1, 1] at `rate` Hz. seams: first sample of each chunk but the first.
    first_packet_s, total_s: seconds from the request to the first audio and to the end; None where
    nothing was timed. notes: what the model had to say about the text.
    failure: why there is no audio or not all of it; empty when all went well.
    """

    samples: Float32
    rate: int
    seams: tuple[int, ...] = ()
    first_packet_s: float | None = None
    total_s: float | None = None
    notes: tuple[str, ...] = ()
    failure: str = ""


class Subject(Protocol):
    """Something that speaks sentences. voice: a registered one; None is the default voice."""

    name: str

    def speak(self, sentence: Sentence, voice: str | None) -> Speech: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Part:
    samples: Float32
    notes: tuple[str, ...]


class LocalSubject:
    """A model directory in this process."""

    def __init__(
        self, model: Path, *, streaming: bool = True, seed: int = 0, preset: str = "exact"
    ) -> None:
        """seed: of sampling, for checkpoints that do not decode greedily. preset: of the solver."""
        self.name = f"{model.resolve().name}-{'streamed' if streaming else 'one-shot'}"
        self.name += f"-{preset}" if preset != "exact" else ""
        self._streaming = streaming
        self._sampling = tritone.SamplingParams(seed=seed)
        self._tts = tritone.load(model, preset=preset)

    def speak(self, sentence: Sentence, voice: str | None) -> Speech:
        def parts() -> Iterator[_Part]:
            for chunk in self._tts.stream(
                sentence.text, voice=voice, sampling=self._sampling, streaming=self._streaming
            ):
                yield _Part(chunk.samples, _notes(chunk.timing))

        return _collect(parts, self._tts.sample_rate)

    def close(self) -> None:
        self._tts.close()


class ServedSubject:
    """The public model of a running server, through the client that users have."""

    def __init__(self, url: str, *, streaming: bool = True, seed: int = 0) -> None:
        self.name = f"{url}-{'streamed' if streaming else 'one-shot'}"
        self._streaming = streaming
        self._seed = seed
        self._client = SpeechClient(url)

    def speak(self, sentence: Sentence, voice: str | None) -> Speech:
        utterance = Utterance(
            sentence.text, voice=voice, seed=self._seed, streaming=self._streaming
        )

        def parts() -> Iterator[_Part]:
            for packet in self._client.packets(utterance, timing=True):
                yield _Part(packet.samples, _notes(packet.timing or {}))

        return _collect(parts, self._client.sample_rate)

    def close(self) -> None:
        self._client.close()


class WaveSubject:
    """DIR/harvard-01.wav and so on, or DIR/VOICE/harvard-01.wav where voices are named."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    def speak(self, sentence: Sentence, voice: str | None) -> Speech:
        """The file's first channel. Raises EnvironmentProblem where the file is missing."""
        path = wave_path(self._folder, sentence, voice)
        if not path.is_file():
            raise tritone.EnvironmentProblem(
                f"{path} is missing: {self.name} must hold a file for every sentence, "
                "or choose fewer with --list, --limit and --voices"
            )
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return Speech(np.ascontiguousarray(samples[:, 0]), rate)

    def close(self) -> None:
        """Nothing is held open."""


def wave_path(folder: Path, sentence: Sentence, voice: str | None) -> Path:
    """Where the audio of a sentence lies in a folder of wave files."""
    return folder / (voice or "") / f"{sentence.key}.wav"


def save(folder: Path, sentence: Sentence, voice: str | None, speech: Speech) -> None:
    """Write 16-bit audio to where WaveSubject looks for it."""
    path = wave_path(folder, sentence, voice)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech.samples, speech.rate, subtype="PCM_16")


def _collect(
    parts: Callable[[], Iterator[_Part]], rate: int, clock: Callable[[], float] = time.perf_counter
) -> Speech:
    """Take a stream to its end. A sentence that fails is a finding; a server that is gone is not.

    So errors of single requests end up in `failure`, and those of the deployment are raised.
    """
    meter = StreamMeter(rate, clock)
    chunks: list[Float32] = []
    notes: tuple[str, ...] = ()
    failure = ""
    try:
        for part in parts():
            meter.packet(part.samples)
            chunks.append(part.samples)
            notes = part.notes or notes
    except SpeechError as error:
        if error.status in NO_SERVER:
            raise
        failure = str(error)
    except (tritone.InvalidRequest, tritone.StageFailed) as error:
        failure = str(error)
    metrics = meter.finish()
    return Speech(
        samples=np.concatenate(chunks) if chunks else np.zeros(0, np.float32),
        rate=rate,
        seams=tuple(seams_of(chunks)),
        first_packet_s=metrics.first_packet_s,
        total_s=metrics.total_s,
        notes=notes,
        failure=failure,
    )


def _notes(timing: dict[str, object]) -> tuple[str, ...]:
    notes = timing.get("notes", [])
    assert isinstance(notes, list)
    return tuple(str(note) for note in notes)

"""One worker of a corpus: a process that has the models and speaks items, several at a time."""

import io
import os
import socket
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import soundfile
import torch

from tritone.acoustic.presets import SolverChoice
from tritone.arrays import Float32
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.local.offline.manifest import Item
from tritone.local.offline.place import Place, place_at
from tritone.local.offline.records import wave_name
from tritone.local.offline.speak import Outcome, outcome_of
from tritone.local.tts import LocalStages
from tritone.synthesis.pipeline import Settings


@dataclass(frozen=True)
class Job:
    """What all workers have in common.

    out: folder or URL of the results. marker: a file that is there while the run lasts. cores,
    gpus: of one worker. The others as in `run.Order`.
    """

    model: Path
    out: str
    marker: str
    profile: str
    batch: int
    threads: int | None
    precision: str
    preset: str
    cores: int
    gpus: int


@dataclass(frozen=True)
class Desk:
    """Where a worker is."""

    pid: int
    host: str


class Worker:
    """Made empty: an error while models are loaded is to be an answer, not a dead process."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self) -> Desk:
        """Load the models. Raises EnvironmentProblem, which names this machine, where they do not
        load, or where the results would go elsewhere than the driver's; OSError."""
        host = socket.gethostname()
        try:
            self._place = place_at(self._job.out)
            self._check_place()
            self._settings, self._never = Settings(), threading.Event()
            self._load()
        except TritoneError as error:  # some take more to be made than their message has
            raise EnvironmentProblem(f"on {host}: {error}") from error
        return Desk(os.getpid(), host)

    def _check_place(self) -> None:
        try:
            self._place.read(self._job.marker)
        except FileNotFoundError as error:
            raise EnvironmentProblem(
                f"{self._job.out} is not the place that the driver writes to; give a folder that "
                "all machines share, or the URL of an object store"
            ) from error

    def _load(self) -> None:
        job = self._job
        torch.set_num_threads(job.threads or max(1, job.cores // job.batch))
        values: dict[str, Any] = {"slots": job.batch}
        if job.profile == "cpu":
            values["precision"] = job.precision
        self._stages = LocalStages(
            job.model,
            self._settings.limits,
            profile=job.profile,
            language_model=values,
            solver=SolverChoice(job.preset),
        )

    def speak(self, item: Item) -> Outcome:
        """Speak an item into its file. Raises OSError where that cannot be written."""
        save = partial(_save, self._place, wave_name(item.id))
        return outcome_of(item, self._stages, self._settings, save, self._never)


def _save(place: Place, name: str, wave: Float32, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    place.write(name, file.getvalue())

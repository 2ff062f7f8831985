"""What became of every item of a corpus: its log, and the failures apart."""

import io
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import soundfile

from tritone.local.offline.manifest import Item, Problem
from tritone.local.offline.place import Place

LOG_NAME, FAILURES_NAME = "log.jsonl", "failures.jsonl"
_HEADER_BYTES = 44  # of a wave file: one that is no longer has no speech
_LEAST_LINES = 20  # that are worth a write
_READERS = 16  # at a time; a store takes long to answer


class Records:
    """`log.jsonl` has one line for each item that was spoken or has failed, whichever run it was,
    and `failures.jsonl` one for each that has no result, bad lines of the manifest included.

    done: the ids that have a whole result already. spoken, failed: items of this run. audio_s:
    seconds of speech of this run.
    """

    def __init__(
        self,
        place: Place,
        sizes: Mapping[str, int],
        items: Iterable[Item],
        problems: Iterable[Problem],
    ) -> None:
        """Takes up what is there. sizes: of the place. Raises OSError where it cannot be read or
        written."""
        self._place = place
        self._log, self._failures = _Lines(place, LOG_NAME), _Lines(place, FAILURES_NAME)
        wanted = {wave_name(item.id): item for item in items}
        whole = {name for name, size in sizes.items() if size > _HEADER_BYTES}
        self.failed = self.spoken = 0
        self.audio_s = 0.0
        known = _known(place) if LOG_NAME in sizes else {}
        for name, record in known.items():
            if name in whole:
                self._log.add(record)
        self.done = {item.id for name, item in wanted.items() if name in whole & known.keys()}
        # written by a run that was killed before its log was
        unknown = [item for name, item in wanted.items() if name in whole - known.keys()]
        with ThreadPoolExecutor(_READERS) as pool:
            for item, seconds in zip(unknown, pool.map(self.found, unknown), strict=True):
                if seconds is not None:
                    self._log.add(_line(item, seconds))
                    self.done.add(item.id)
        for problem in problems:
            self._failures.add({"id": None, "line": problem.line, "error": problem.message})
        self.write()

    def found(self, item: Item) -> float | None:
        """Seconds of the result that is there, None without one."""
        try:
            with io.BytesIO(self._place.read(wave_name(item.id))) as file:
                seconds: float = soundfile.info(file).duration
                return seconds
        except (FileNotFoundError, soundfile.SoundFileError):
            return None

    def speech(self, item: Item, seconds: float, **more: object) -> None:
        """An item was spoken. seconds: of its speech. more: for its line."""
        self.spoken += 1
        self.audio_s += seconds
        self._log.add({**_line(item, seconds), **more})

    def failure(self, item: Item, cause: str, **more: object) -> None:
        self.failed += 1
        record = {**_line(item, None), "error": cause, **more}
        self._log.add(record)
        self._failures.add({key: record[key] for key in ("id", "line", "error")})

    def write(self) -> None:
        """Both files, as they are now."""
        self._log.write()
        self._failures.write()


class _Lines:
    """One file of a place. Objects cannot be added to, so it is written anew as a whole whenever a
    tenth more has come: what a kill takes is known from the results."""

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._name = place, name
        self._lines: list[str] = []
        self._written = 0

    def add(self, record: Mapping[str, object]) -> None:
        self._lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        if len(self._lines) - self._written >= max(_LEAST_LINES, self._written // 10):
            self.write()

    def write(self) -> None:
        self._place.write(self._name, "".join(self._lines).encode())
        self._written = len(self._lines)


def wave_name(name: str) -> str:
    """The file of an item's speech."""
    return f"{name}.wav"


def _line(item: Item, seconds: float | None) -> dict[str, Any]:
    file = None if seconds is None else wave_name(item.id)
    seconds = None if seconds is None else round(seconds, 4)
    return {"id": item.id, "line": item.line, "file": file, "seconds": seconds, "error": None}


def _known(place: Place) -> dict[str, dict[str, Any]]:
    """The lines of results that an earlier run wrote, by file. One that does not read is made
    anew."""
    found = {}
    for line in place.read(LOG_NAME).decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
            if record["file"]:
                found[record["file"]] = record
        except (ValueError, TypeError, KeyError):
            continue
    return found

"""The registry's folder: two files for each voice, readable by any number of servers.

    DIR/ID.json                     the record, which names the arrays by their digest
    DIR/ID.DIGEST.safetensors       the arrays; DIGEST: the first 16 digits of it
    DIR/.lock                       held by the one who writes

A voice is there when its JSON is: the arrays are written before it and removed after it, and it
comes by a rename. So a reader needs no lock and sees a voice whole or not at all, and a writer that
is killed leaves files that nothing names, which the next writer removes. The lock (flock, which the
system takes back from a process that dies) keeps writers apart, also those of other machines where
the file system has it.
"""

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from numpy.typing import NDArray

from tritone.errors import Overloaded, UnknownVoice, VoiceExists, VoiceRegistryError
from tritone.frontend.registry.record import VoiceRecord, check_id
from tritone.frontend.voices import VOICE_ID
from tritone.voice import digest, pack, unpack

MOST_RECORD_BYTES = 64 << 10
MOST_ARRAY_BYTES = 16 << 20  # of a voice; 30 s take half a megabyte
LOCK_WAIT_S = 10.0

_RECORD, _ARRAYS, _PARTIAL = ".json", ".safetensors", ".partial-"
_ARRAYS_NAME = re.compile(rf"(?P<id>.+)\.[0-9a-f]{{16}}{re.escape(_ARRAYS)}")
_TRIES = 3  # of a reader, beside writers that replace what it reads

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Skipped:
    """An entry that is no usable voice: its file's name, and why."""

    name: str
    why: str


class VoiceRegistry:
    """Safe to use from several threads and processes. The folder need not exist until the first
    voice is put into it."""

    def __init__(self, folder: Path, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.folder, self._lock_wait_s = folder, lock_wait_s

    def listing(self) -> tuple[list[VoiceRecord], list[Skipped]]:
        """All voices by id, and what is none; arrays are not read."""
        records, skipped = list[VoiceRecord](), list[Skipped]()
        for name in sorted(self._names()):
            voice_id, suffix = name[: -len(_RECORD)], name[-len(_RECORD) :]
            if name.startswith(".") or name.endswith(_ARRAYS):
                continue
            if suffix != _RECORD or not VOICE_ID.fullmatch(voice_id):
                skipped.append(Skipped(name, "is no file of this registry"))
                continue
            try:
                records.append(self.record(voice_id))
            except UnknownVoice:
                continue  # removed meanwhile
            except VoiceRegistryError as error:
                skipped.append(Skipped(name, str(error)))
        return records, skipped

    def has(self, voice_id: str) -> bool:
        """Whether the id is taken, if by a damaged voice; InvalidRequest for no id."""
        check_id("voice", voice_id)
        return os.path.lexists(self.folder / f"{voice_id}{_RECORD}")

    def identity(self, voice_id: str) -> str | None:
        """Digest of the voice as it is now, None where there is none: what every request asks.

        Of the record's text, which has the arrays' digest, and not of the file's time, of which two
        changes may have the same. InvalidRequest for no id, VoiceRegistryError for no file.
        """
        check_id("voice", voice_id)
        path = self.folder / f"{voice_id}{_RECORD}"
        try:
            return hashlib.sha256(_content(path, MOST_RECORD_BYTES)).hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise VoiceRegistryError(f"{path} is damaged: {error}") from error

    def record(self, voice_id: str) -> VoiceRecord:
        """Raises UnknownVoice; VoiceRegistryError for a damaged one."""
        check_id("voice", voice_id)
        path = self.folder / f"{voice_id}{_RECORD}"
        try:
            record = VoiceRecord.of_text(_content(path, MOST_RECORD_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownVoice("voice", f"{voice_id!r} is not in the registry") from None
        except (OSError, ValueError) as error:
            raise VoiceRegistryError(f"{path} is damaged: {error}") from error
        if record.id != voice_id:
            raise VoiceRegistryError(f"{path} is the record of {record.id!r}: it was renamed")
        return record

    def open(self, voice_id: str) -> tuple[VoiceRecord, Arrays]:
        """A voice, its arrays compared with their digest; errors as for `record`."""
        for _ in range(_TRIES):
            record = self.record(voice_id)
            try:
                return record, self._arrays(record)
            except FileNotFoundError:
                continue  # replaced between the two reads
        path = self._arrays_path(record)
        raise VoiceRegistryError(f"{path} is missing; add the voice again")

    def put(self, record: VoiceRecord, arrays: Arrays, *, replace: bool = False) -> None:
        """Keep a voice. Raises VoiceExists unless it may replace one, Overloaded where others hold
        the registry, VoiceRegistryError where it cannot be written."""
        assert record.arrays == digest(arrays).hex()
        record.details.check(consent=False)
        with self._writing():
            if not replace and self.has(record.id):
                raise VoiceExists("id", f"{record.id!r} is in the registry already")
            _write(self._arrays_path(record), pack(arrays))
            _write(self.folder / f"{record.id}{_RECORD}", record.to_text().encode())
            self._sweep(record.id)

    def remove(self, voice_id: str) -> None:
        """Take a voice away, damaged or not; raises UnknownVoice, and as `put`."""
        if not self.has(voice_id):
            raise UnknownVoice("voice", f"{voice_id!r} is not in the registry")
        with self._writing():
            try:
                (self.folder / f"{voice_id}{_RECORD}").unlink()
            except FileNotFoundError:
                raise UnknownVoice("voice", f"{voice_id!r} is not in the registry") from None
            self._sweep(voice_id)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise VoiceRegistryError(
                f"{self.folder} cannot be read as the voice registry: {error.strerror}"
            ) from error

    def _arrays_path(self, record: VoiceRecord) -> Path:
        return self.folder / f"{record.id}.{record.arrays[:16]}{_ARRAYS}"

    def _arrays(self, record: VoiceRecord) -> Arrays:
        path = self._arrays_path(record)
        try:
            arrays = unpack(_content(path, MOST_ARRAY_BYTES))
        except FileNotFoundError:
            raise
        except Exception as error:  # of the library that reads arrays, whatever it stumbles on
            raise VoiceRegistryError(f"{path} is damaged: {error}") from error
        if digest(arrays).hex() != record.arrays:
            raise VoiceRegistryError(f"{path} is damaged: its digest is not that of its record")
        return arrays

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Within it no one else writes; what the file system refuses is a VoiceRegistryError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take(lock)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise VoiceRegistryError(
                f"{self.folder} cannot be written: {error.strerror}; name a folder with --voices "
                "or TRITONE_VOICES that this user may write"
            ) from error

    def _take(self, lock: int) -> None:
        deadline = time.monotonic() + self._lock_wait_s
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Overloaded(
                        f"{self.folder} is being written by others for {self._lock_wait_s:g} s; "
                        "try again"
                    ) from None
                time.sleep(0.01)

    def _sweep(self, changed: str) -> None:
        """Remove what no voice names: arrays of the voice that was changed, and all that writers
        who were killed left. Only under the lock."""
        names = set(self._names())
        for name in names:
            found = _ARRAYS_NAME.fullmatch(name)
            if found is None:
                lost = name.startswith(_PARTIAL)
            elif f"{found['id']}{_RECORD}" not in names:
                lost = True
            else:
                lost = (
                    found["id"] == changed and name != self._arrays_path(self.record(changed)).name
                )
            if lost:
                (self.folder / name).unlink(missing_ok=True)


def _content(path: Path, most: int) -> bytes:
    """Of a plain file that is not too large; a pipe would keep a reader for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not S_ISREG(found.st_mode):
            raise ValueError("is no plain file")
        if found.st_size > most:
            raise ValueError(f"has {found.st_size} bytes; the limit is {most}")
        return file.read(most)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, also when the power fails."""
    partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

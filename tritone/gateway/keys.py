"""API keys: shown once, kept as salted hashes in a file, compared in constant time.

A key is `tritone-ID-SECRET`. The id finds its record; the secret has 256 random bits, so one round
of SHA-256 over salt and secret is as good as a slow hash, which passwords need that people choose.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tritone.checkpoints.atomic_write import written_whole
from tritone.errors import EnvironmentProblem

_LOG = logging.getLogger(__name__)

_KEY = re.compile(r"tritone-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


class KeyRecord(BaseModel):
    """What is kept of a key. requests_per_minute, streams (at a time): 0 is unlimited. voices: it
    may add and remove voices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    salt: str
    hash: str
    created: str
    requests_per_minute: int = Field(ge=0)
    streams: int = Field(ge=0)
    voices: bool = False


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: tuple[KeyRecord, ...]


def read_keys(path: Path) -> tuple[KeyRecord, ...]:
    """The records of a key file. Raises EnvironmentProblem."""
    try:
        return _Content.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise EnvironmentProblem(
            f"--keys {path}: {error.strerror}; `tritone keys add NAME --keys {path}` makes it"
        ) from error
    except ValidationError as error:
        raise EnvironmentProblem(
            f"--keys {path}: is no key file: {error.errors()[0]['msg']}; take another path"
        ) from error


def write_keys(path: Path, records: Sequence[KeyRecord]) -> None:
    """Whole or not at all, for this user's eyes alone. Raises EnvironmentProblem."""
    try:
        with written_whole(path) as partial:
            partial.touch(0o600)
            text = _Content(keys=tuple(records)).model_dump_json(indent=1)
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(f"--keys {path}: cannot be written: {error.strerror}") from error


def new_key(
    name: str, requests_per_minute: int, streams: int, *, voices: bool = False
) -> tuple[str, KeyRecord]:
    """A key, which is kept nowhere, and its record."""
    key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_hex(16)
    record = KeyRecord(
        id=key_id,
        name=name,
        salt=salt,
        hash=_hash(salt, secret),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        requests_per_minute=requests_per_minute,
        streams=streams,
        voices=voices,
    )
    return f"tritone-{key_id}-{secret}", record


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()


_NOBODY = KeyRecord(
    id="", name="", salt="0" * 32, hash="0" * 64, created="", requests_per_minute=0, streams=0
)


@dataclass(frozen=True)
class _Version:
    """Of a file: another one stands for another content."""

    inode: int
    size: int
    changed_ns: int


class KeyFile:
    """The keys of a file as it is now: keys are added and removed while a gateway runs.

    A file that cannot be read lets nobody in, and is logged once. Raises EnvironmentProblem where
    it cannot be read at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._seen()
        self._records = {record.id: record for record in read_keys(path)}

    def match(self, key: str) -> KeyRecord | None:
        """The record of a key; takes as long for an unknown id as for a wrong secret."""
        self._look_again()
        found = _KEY.fullmatch(key)
        key_id, secret = found.groups() if found else ("", "")
        record = self._records.get(key_id, _NOBODY)
        same = hmac.compare_digest(_hash(record.salt, secret), record.hash)
        return record if same and record is not _NOBODY else None

    def _look_again(self) -> None:
        version = self._seen()
        if version == self._version:
            return
        self._version = version
        try:
            self._records = {record.id: record for record in read_keys(self._path)}
        except EnvironmentProblem as error:
            self._records = {}
            _LOG.error("nobody is let in: %s", error)

    def _seen(self) -> _Version | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return _Version(status.st_ino, status.st_size, status.st_mtime_ns)

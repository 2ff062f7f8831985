"""Voices: as files of a model directory, and as a cache of what references were turned into."""

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.voice import Voice

VOICES_FOLDER = "voices"
SUFFIX = ".safetensors"
VOICE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
NAMES_SHOWN = 10
VOICES_CACHED = 64  # a voice of a 30 s recording takes half a megabyte

VoiceT = TypeVar("VoiceT", bound=Voice)


def save_voice(path: Path, voice: Voice) -> None:
    """Write a voice as safetensors, its transcript in the metadata."""
    arrays = voice.to_arrays()
    type(voice).from_arrays(arrays)  # what could not be read again is not written
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(tensors, str(path), metadata={"transcript": voice.transcript})
    path.chmod(0o644)  # safetensors writes for the owner alone; servers run as another user


def load_voice(path: Path, kind: type[VoiceT]) -> VoiceT:
    """Read a voice file; ModelDirectoryError says what is wrong with it."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            transcript = (file.metadata() or {}).get("transcript", "")
    except (OSError, SafetensorError) as error:
        raise ModelDirectoryError(f"{path}: not a voice file: {error}") from error
    try:
        return kind.from_arrays(arrays, transcript)
    except ValueError as error:
        raise ModelDirectoryError(f"{path}: {error}") from error


class VoiceStore:
    """The registered voices of a model directory: voices/<id>.safetensors."""

    def __init__(self, model_dir: Path) -> None:
        self._folder = model_dir / VOICES_FOLDER

    def names(self) -> list[str]:
        """Ids of all registered voices, sorted."""
        files = self._folder.glob(f"*{SUFFIX}")
        return sorted(f.stem for f in files if VOICE_ID.fullmatch(f.stem))

    def path(self, voice_id: str) -> Path:
        """Where the voice of this id is kept; InvalidRequest if it cannot be an id."""
        if not VOICE_ID.fullmatch(voice_id):
            raise InvalidRequest(
                "voice",
                f"has {len(voice_id)} characters and is no voice id: 1 to 64 of A-Z a-z 0-9 _ . -, "
                "not starting with . or -",
            )
        return self._folder / f"{voice_id}{SUFFIX}"

    def load(self, voice_id: str, kind: type[VoiceT]) -> VoiceT:
        """The registered voice of that family; InvalidRequest naming some of those there are if it
        is unknown."""
        path = self.path(voice_id)
        if not path.is_file():
            raise InvalidRequest("voice", f"{voice_id!r} is not registered; {self.describe()}")
        return load_voice(path, kind)

    def key(self, voice_id: str) -> str:
        """Of the registered voice as its file is now, for a VoiceCache; errors as for `load`."""
        path = self.path(voice_id)
        changed = path.stat().st_mtime_ns if path.is_file() else None
        return f"{voice_id} {changed}"

    def describe(self) -> str:
        """A short list of the registered voices, for messages."""
        names = self.names()
        if not names:
            return "this model directory has no voices"
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        return f"registered voices: {', '.join(names[:NAMES_SHOWN])}{more}"


def reference_key(wav: Float32, rate: int, transcript: str) -> str:
    """Digest of everything that a cloned voice depends on."""
    digest = hashlib.sha256(f"{rate} {len(wav)} ".encode())
    digest.update(np.ascontiguousarray(wav, dtype=np.float32).tobytes())
    digest.update(transcript.encode())
    return digest.hexdigest()


class VoiceCache(Generic[VoiceT]):
    """The most recently used voices, by `reference_key` or `VoiceStore.key`.

    Safe to share between threads.
    """

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1
        self._capacity = capacity
        self._lock = threading.Lock()
        self._voices: OrderedDict[str, Future[VoiceT]] = OrderedDict()

    def get(self, key: str, compute: Callable[[], VoiceT]) -> tuple[VoiceT, bool]:
        """The voice of `key`, from `compute` when it is new, and whether it was there.

        Requests that ask for the same new voice at once wait for a single computation. An error of
        `compute` reaches all of them, and the next request tries again.
        """
        with self._lock:
            future = self._voices.get(key)
            mine, cached = future is None, future is not None and future.done()
            if future is None:
                future = self._voices[key] = Future()
            self._voices.move_to_end(key)
            while len(self._voices) > self._capacity:
                self._voices.popitem(last=False)
        if mine:
            try:
                future.set_result(compute())
            except BaseException as error:  # waiting requests must wake up whatever happened
                future.set_exception(error)
                with self._lock:
                    if self._voices.get(key) is future:
                        del self._voices[key]
        try:
            return future.result(), cached
        finally:
            del future  # an error that it has knows this frame

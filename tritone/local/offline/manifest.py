"""What is to be spoken: the lines of a manifest, all of them checked before any work.

    id|prompt_text|prompt_wav|text
    {"id": "b", "text": "Hello.", "voice": "anna", "seed": 3}

A line is of the one or the other kind; blank lines are skipped. A file NAME.parquet has columns of
the names that JSON has for things, and a row for each utterance. prompt_text and prompt_wav may be
empty: then a registered voice speaks. Paths, of emotion_audio too, count from the manifest's own
folder.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from pydantic import BaseModel, ConfigDict, ValidationError

from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.frontend.audio.recording import mixed
from tritone.llm.contract import SamplingParams
from tritone.synthesis.limits import DEFAULT_LIMITS, Limits, check
from tritone.synthesis.values import Emotion, SynthesisRequest

PIPED = ("id", "prompt_text", "prompt_wav", "text")
MOST_SAMPLES = 1 << 26  # a header may promise any number
MAX_ID_BYTES = 200  # file systems take names of 255, and suffixes are added
_Recording = tuple[Float32, int]  # (N,) mono samples, and their rate
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Item:
    """One utterance. request: without its recordings, which are read when its turn comes."""

    line: int
    id: str
    request: SynthesisRequest
    prompt_wav: Path | None = None
    emotion_audio: Path | None = None

    def load(self) -> SynthesisRequest:
        """The request with its recordings. Raises InvalidRequest if one cannot be read."""
        return self.heard(_sound)

    def heard(self, read: Callable[[str, Path], "_Recording"]) -> SynthesisRequest:
        """The request with what `read` gives for the recordings, by the keys that name them."""
        request = self.request
        if self.prompt_wav is not None:
            wav, rate = read("prompt_wav", self.prompt_wav)
            request = replace(request, reference_wav=wav, reference_rate=rate)
        if self.emotion_audio is not None:
            wav, rate = read("emotion_audio", self.emotion_audio)
            emotion = replace(request.emotion or Emotion(), wav=wav, rate=rate)
            request = replace(request, emotion=emotion)
        return request


@dataclass(frozen=True)
class Problem:
    """A line that cannot be spoken, and why."""

    line: int
    message: str


@dataclass
class Manifest:
    """The lines that can be spoken, in order, and those that cannot."""

    items: list[Item] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Line(BaseModel):
    """A line as it is written, under the names that the manifest has for things."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    text: str
    prompt_text: str | None = None
    prompt_wav: str | None = None
    voice: str | None = None
    instruct_text: str | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    speed: float = 1.0
    emotion_vector: list[float] | None = None
    emotion_audio: str | None = None
    emotion_text: str | None = None
    emotion_weight: float | None = None

    @property
    def emotion(self) -> Emotion | None:
        """Without the recording, which may be all there is of it."""
        vector, text, weight = self.emotion_vector, self.emotion_text, self.emotion_weight
        if (vector, text, weight) == (None, None, None) and not self.emotion_audio:
            return None
        shares = None if vector is None else tuple(vector)
        return Emotion(vector=shares, text=text, weight=1.0 if weight is None else weight)


def read_manifest(
    path: Path, defaults: SamplingParams | None = None, limits: Limits = DEFAULT_LIMITS
) -> Manifest:
    """Read and check a manifest: form, ids, requests, and the header of every recording.

    defaults: sampling of lines that do not say. Raises InvalidRequest if nothing of the file can
    be used at all.
    """
    manifest, seen = Manifest(), dict[str, int]()
    for number, written in _rows(path) if path.suffix == ".parquet" else _lines(path):
        try:
            item = _item(number, _parse(written), path.parent, defaults or SamplingParams())
            if item.id in seen:
                raise InvalidRequest("id", f"{item.id!r} is also the id of line {seen[item.id]}")
            seen[item.id] = number
            _check(item, limits)
            manifest.items.append(item)
        except InvalidRequest as error:
            manifest.problems.append(Problem(number, str(error)))
    if not manifest.items and not manifest.problems:
        raise InvalidRequest("manifest", f"{path} has no lines; write {'|'.join(PIPED)} or JSON")
    return manifest


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, counted from 1."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise InvalidRequest("manifest", f"{path} cannot be read: {error.strerror}") from error
    try:
        text = contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise InvalidRequest("manifest", f"{path}, line {line}: is not UTF-8 text") from error
    # Unlike splitlines, this leaves U+2028 and form feeds inside a text alone.
    for number, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            yield number, written.strip()


def _rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The rows of a Parquet file, counted from 1, without what is null."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        problem = f"{path} needs pyarrow: pip install 'tritone[parquet]', or write JSON lines"
        raise InvalidRequest("manifest", problem) from error
    try:
        with parquet.ParquetFile(path) as file:
            rows = chain.from_iterable(batch.to_pylist() for batch in file.iter_batches())
            for number, row in enumerate(rows, start=1):
                yield number, {key: value for key, value in row.items() if value is not None}
    except (OSError, ArrowException) as error:
        raise InvalidRequest("manifest", f"{path} cannot be read: {error}") from error


def _parse(text: str | dict[str, object]) -> _Line:
    """Raises InvalidRequest that names the field at fault."""
    try:
        if isinstance(text, dict):
            return _Line.model_validate(text)
        if text.startswith("{"):
            return _Line.model_validate_json(text)
        parts = [part.strip() for part in text.split("|")]
        if len(parts) != len(PIPED):
            form = "|".join(PIPED)
            raise InvalidRequest("fields", f"there are {len(parts)}; {form} has {len(PIPED)}")
        name, prompt_text, prompt_wav, spoken = parts
        return _Line(id=name, text=spoken, prompt_text=prompt_text, prompt_wav=prompt_wav)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_Line.model_fields)
            raise InvalidRequest(key, f"is not known; the keys are {known}") from error
        raise InvalidRequest(key or "JSON", problem["msg"]) from error


def _item(number: int, line: _Line, folder: Path, defaults: SamplingParams) -> Item:
    given = line.model_dump(include={"temperature", "top_p", "top_k", "seed"}, exclude_none=True)
    request = SynthesisRequest(
        text=line.text,
        reference_text=line.prompt_text,
        instruct_text=line.instruct_text,
        voice=line.voice,
        sampling=replace(defaults, **given),
        speed=line.speed,
        emotion=line.emotion,
        streaming=False,  # one pass with full attention: nobody waits for the first packet
    )
    paths = [folder / name if name else None for name in (line.prompt_wav, line.emotion_audio)]
    return Item(number, line.id, request, *paths)


def _check(item: Item, limits: Limits) -> None:
    """Raise InvalidRequest for the first thing that is wrong with the line."""
    name = item.id
    if not name or name.startswith((".", " ")) or name.endswith(" ") or _UNSAFE.search(name):
        raise InvalidRequest(
            "id", f"{name!r:.80} cannot name a file: no / \\ or control characters, no leading dot"
        )
    if len(name.encode()) > MAX_ID_BYTES:
        raise InvalidRequest("id", f"has {len(name.encode())} bytes; the limit is {MAX_ID_BYTES}")
    check(item.heard(_any_sound), limits)


def _sound(key: str, path: Path) -> _Recording:
    with _sound_file(key, path) as file:
        return mixed(file.read(dtype="float32", always_2d=True)), file.samplerate


def _any_sound(key: str, path: Path) -> _Recording:
    """One as long as the file, for checks before its samples are read."""
    with _sound_file(key, path) as file:
        return np.broadcast_to(np.float32(0.5), (file.frames,)), file.samplerate


@contextmanager
def _sound_file(key: str, path: Path) -> Iterator[soundfile.SoundFile]:
    """Raises InvalidRequest for one that cannot be read or is too large. key: that names it."""
    try:
        if not path.is_file():
            raise InvalidRequest(key, f"{path} does not exist")
        with soundfile.SoundFile(path) as file:
            size = file.frames * file.channels
            if not 0 <= size <= MOST_SAMPLES:
                problem = f"{size} samples in {file.channels} channels; at most {MOST_SAMPLES}"
                raise InvalidRequest(key, f"{path} says that it has {problem} are read")
            yield file
    except (OSError, soundfile.SoundFileError, TypeError) as error:  # TypeError: of a .raw
        why = getattr(error, "error_string", str(error))  # which does not name the file again
        raise InvalidRequest(key, f"{path} cannot be read: {why}") from error

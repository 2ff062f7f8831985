"""Where voices are handed in, given out and taken back: a registry and the checkpoint that made its
voices. Commands and gateways call it; it needs no server, and no server needs it."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from tritone.errors import InvalidRequest, UnknownVoice, VoiceExists
from tritone.families.contract import Model, VoiceMaker
from tritone.frontend.audio import decode, quality, speakers
from tritone.frontend.audio.decode import DecodingLimits, Sound
from tritone.frontend.audio.quality import Quality, QualityLimits
from tritone.frontend.audio.recording import SILENT
from tritone.frontend.registry.lookup import misfit
from tritone.frontend.registry.pack import open_pack, pack_voice
from tritone.frontend.registry.record import Details, VoiceRecord, check_id
from tritone.frontend.registry.store import Arrays, Skipped, VoiceRegistry
from tritone.frontend.text.pace import implausible, plausible_letters
from tritone.frontend.voices import VoiceStore
from tritone.resources import voice_registry_dir
from tritone.voice import digest

# Of the inputs of a synthesis request, as who adds a voice calls them.
_FIELDS = {"reference_wav": "recording", "reference_text": "transcript"}


@dataclass(frozen=True)
class Listing:
    """model: ids of the model directory's voices. added: of the registry, those that this
    checkpoint speaks. misfits: the others, each with the reason. skipped: what is no voice."""

    model: tuple[str, ...]
    added: tuple[VoiceRecord, ...]
    misfits: tuple[tuple[VoiceRecord, str], ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Added:
    """record: its notes say what was done and what could be better. seconds: that it took.
    encoder_seconds: of these in the encoders."""

    record: VoiceRecord
    seconds: float
    encoder_seconds: float


class VoiceDesk:
    """Safe to use from several threads; the encoders are loaded with the first recording."""

    def __init__(
        self,
        model: Model,
        registry: VoiceRegistry | None = None,
        *,
        decoding: DecodingLimits = decode.DEFAULT_LIMITS,
        limits: QualityLimits = quality.DEFAULT_LIMITS,
    ) -> None:
        """registry: None is the one that TRITONE_VOICES names, or the user's."""
        self.registry = registry or VoiceRegistry(voice_registry_dir())
        self._model, self._own = model, VoiceStore(model.folder)
        self._decoding, self._limits = decoding, limits
        self._loading = threading.Lock()

    def load(self) -> None:
        """Load the encoders now, so that the first recording does not wait for them; raises
        ModelDirectoryError where the checkpoint has none."""
        with self._loading:
            _ = self._maker

    def listing(self) -> Listing:
        records, skipped = self.registry.listing()
        faults = [(record, self.fault(record)) for record in records]
        return Listing(
            tuple(self._own.names()),
            tuple(record for record, fault in faults if not fault),
            tuple((record, fault) for record, fault in faults if fault),
            tuple(skipped),
        )

    def get(self, voice_id: str) -> VoiceRecord:
        """An added voice; raises UnknownVoice, VoiceRegistryError for a damaged one."""
        return self.registry.record(voice_id)

    def fault(self, record: VoiceRecord) -> str:
        """Why requests for this voice are refused, empty where they are not."""
        if record.id in self._names:
            return "has the id of a voice of the model directory, which speaks in its place"
        return misfit(record, self._model.family.name, self._encoders)

    def owns(self, voice_id: str) -> bool:
        """Whether it is a voice of the model directory; InvalidRequest for no id."""
        check_id("voice", voice_id)
        return voice_id in self._names

    def add(
        self,
        data: bytes,
        details: Details,
        *,
        replace: bool = False,
        still_wanted: Callable[[], None] = lambda: None,
    ) -> Added:
        """Make a voice of a recording (a file's bytes, of any kind that `decode` reads).

        still_wanted: is called between the steps, the last time before the voice is kept; what it
        raises ends the work.

        Raises InvalidRequest (fields id, name, transcript, language, consent, licence, recording)
        with all that is wrong with the recording at once, VoiceExists, Overloaded where others hold
        the registry, VoiceRegistryError where it cannot be written, and ModelDirectoryError for a
        checkpoint that makes no voices.
        """
        began = time.monotonic()
        still_wanted()
        details.check()
        self._check_free(details.id, replace)
        sound = decode.decode(data, self._decoding)
        self.load()
        still_wanted()
        with _named_as_added():
            found = self._judged(sound, details.transcript)
            still_wanted()
            at = time.monotonic()
            voice, done = self._maker.voice(sound.wav, sound.rate, details.transcript)
            remarks = [*quality.remarks(found, self._limits), *self._speakers(sound)]
            encoders = time.monotonic() - at
        notes = (*map(_renamed, done), *(f"recording: {text}" for text in remarks))
        record = _heard(self._record(voice, details, "recording"), data, found, notes)
        still_wanted()
        self.registry.put(record, voice.to_arrays(), replace=replace)
        return Added(record, time.monotonic() - began, encoders)

    def remove(self, voice_id: str) -> None:
        """Raises UnknownVoice, also for a voice of the model directory, which stays."""
        if voice_id in self._names and not self.registry.has(voice_id):
            raise UnknownVoice(
                "voice", f"{voice_id!r} belongs to the model directory and is not in the registry"
            )
        self.registry.remove(voice_id)

    def export(self, voice_id: str) -> bytes:
        """A voice pack; raises UnknownVoice, VoiceRegistryError for a damaged voice."""
        return pack_voice(*self.registry.open(voice_id))

    def import_pack(self, data: bytes, *, new_id: str = "", replace: bool = False) -> VoiceRecord:
        """Keep the voice of a pack, under another id where one is given.

        Raises InvalidRequest for a pack that is damaged, or of another family or other encoders,
        and as `add`.
        """
        record, arrays = open_pack(data)
        record = record.model_copy(update={"id": new_id or record.id})
        record.details.check(consent=False)
        if problem := misfit(record, self._model.family.name, self._encoders):
            raise InvalidRequest("pack", f"{record.id!r} {problem}")
        self._check_arrays("pack", record, arrays)
        self._check_free(record.id, replace)
        self.registry.put(record, arrays, replace=replace)
        return record

    def import_file(
        self, path: Path, details: Details | None = None, *, replace: bool = False
    ) -> Sequence[VoiceRecord]:
        """Keep all voices of a file of the upstream project, if none of them is refused first.

        details: what is said of all of them; the ids are the file's. Nothing in such a file tells
        which encoders made its voices: they are taken for this checkpoint's.
        """
        model = self._model
        voices: Mapping[str, Any] = model.family.import_voices(path, model.folder, model.config)
        given = details or Details("unnamed")
        records = []
        for voice_id, voice in voices.items():
            what = _with_id(given, voice_id)
            what.check(consent=False)
            record = self._record(voice, what, origin="import")
            self._check_arrays(str(path), record, voice.to_arrays())
            self._check_free(voice_id, replace)
            records.append(record)
        for record in records:
            self.registry.put(record, voices[record.id].to_arrays(), replace=replace)
        return records

    @cached_property
    def _maker(self) -> VoiceMaker:
        return self._model.family.load_voice_maker(self._model.folder, self._model.config)

    @cached_property
    def _encoders(self) -> str:
        return self._model.family.encoders(self._model.folder)

    @property
    def _names(self) -> frozenset[str]:
        return frozenset(self._own.names())

    def _check_free(self, voice_id: str, replace: bool) -> None:
        if voice_id in self._names:
            raise VoiceExists("id", f"{voice_id!r} is a voice of the model directory; take another")
        if not replace and self.registry.has(voice_id):
            raise VoiceExists("id", f"{voice_id!r} is in the registry already")

    def _judged(self, sound: Sound, transcript: str) -> Quality:
        """What a recording is like; raises InvalidRequest for one that is refused."""
        wav = sound.wav
        if float(abs(wav - wav.mean()).max()) < SILENT:
            raise InvalidRequest("recording", f"is silent: no sample exceeds {SILENT:g}")
        found = quality.measured(wav, sound.rate)
        if wrong := quality.problems(found, self._limits):
            raise InvalidRequest("recording", "; ".join(wrong))
        if transcript.strip():
            text = self._maker.spoken(transcript)
            if problem := implausible(text, found.seconds):
                fewest, most = plausible_letters(found.seconds)
                raise InvalidRequest(
                    "transcript", f"{problem}; {fewest} to {most} letters can be said in it"
                )
        return found

    def _speakers(self, sound: Sound) -> Iterator[str]:
        alike = self._maker.likeness(sound.wav, sound.rate)
        if alike is not None and alike < speakers.ALIKE:
            yield (
                f"several speakers are suspected: its parts are alike by {alike:.2f}, those of one "
                f"speaker by {speakers.ALIKE:g} and more; use a recording of one person"
            )

    def _record(self, voice: Any, details: Details, origin: str) -> VoiceRecord:
        return VoiceRecord(
            id=details.id,
            name=details.name.strip() or details.id,
            transcript=voice.transcript,
            language=details.language,
            family=self._model.family.name,
            encoders=self._encoders,
            arrays=digest(voice.to_arrays()).hex(),
            origin="recording" if origin == "recording" else "import",
            consent=details.consent.strip(),
            licence=details.licence.strip(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _check_arrays(self, field: str, record: VoiceRecord, arrays: Arrays) -> None:
        """Raises InvalidRequest for arrays that this checkpoint cannot speak with."""
        model = self._model
        try:
            voice = model.family.voice.from_arrays(arrays, record.transcript)
            problem = model.family.voice_fault(model.config, voice)
        except ValueError as error:
            problem = str(error)
        if problem:
            raise InvalidRequest(field, f"{record.id!r} {problem}")


def _heard(record: VoiceRecord, data: bytes, found: Quality, notes: tuple[str, ...]) -> VoiceRecord:
    """A record with what is known of its recording, a file of these bytes."""
    return record.model_copy(
        update={
            "recording": hashlib.sha256(data).hexdigest(),
            "seconds": round(found.seconds, 2),
            "loudness_dbfs": round(found.loudness_dbfs, 1),
            "snr_db": round(found.snr_db, 1),
            "notes": notes,
        }
    )


def _with_id(details: Details, voice_id: str) -> Details:
    return replace(details, id=voice_id)


def _renamed(note: str) -> str:
    for old, new in _FIELDS.items():
        note = note.replace(old, new)
    return note


@contextmanager
def _named_as_added() -> Iterator[None]:
    """Errors of what a synthesis request would be, as errors of what was handed in."""
    try:
        yield
    except InvalidRequest as error:
        if error.field not in _FIELDS:
            raise
        problem = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequest(_FIELDS[error.field], _renamed(problem)) from error

"""The voices that a front end may speak with: the model directory's, then those of the registry.

Where both have an id the model directory's voice speaks: its default voice and its golden sample
must not change because somebody added a voice.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from tritone.errors import InvalidRequest, UnknownVoice, VoiceRegistryError
from tritone.frontend.registry.record import VoiceRecord
from tritone.frontend.registry.store import VoiceRegistry
from tritone.frontend.voices import VoiceStore
from tritone.resources import voice_registry_dir
from tritone.voice import Voice

VoiceT = TypeVar("VoiceT", bound=Voice)


def misfit(record: VoiceRecord, family: str, encoders: str) -> str:
    """Why a checkpoint cannot speak with an added voice; empty where it can. encoders: their
    digest; empty where the checkpoint has none, and takes every voice of its family."""
    if record.family != family:
        return f"was made for {record.family}, and this model directory is of {family}"
    if encoders and record.encoders != encoders:
        made = record.encoders[:16] or "none"
        return (
            f"was made with other encoders (digest {made}, here {encoders[:16]}); add it again "
            "from its recording"
        )
    return ""


class RegisteredVoices(Generic[VoiceT]):
    """encoders: gives the digest of the checkpoint's encoders; it is asked once, when the first
    added voice is, for it may have to read them."""

    def __init__(
        self,
        model_dir: Path,
        family: str,
        kind: type[VoiceT],
        encoders: Callable[[], str],
        registry: VoiceRegistry | None = None,
    ) -> None:
        """registry: None is the one that TRITONE_VOICES names, or the user's."""
        self._store, self._family, self._kind = VoiceStore(model_dir), family, kind
        self._encoders = cache(encoders)
        self._registry = registry or VoiceRegistry(voice_registry_dir())

    def key(self, voice_id: str) -> str:
        """Of the voice as it is at this moment, for a VoiceCache; InvalidRequest for no id."""
        if self._in_model(voice_id):
            return self._store.key(voice_id)
        return f"added {voice_id} {self._registry.identity(voice_id)}"

    def names(self) -> list[str]:
        """Ids of all voices that requests may ask for now, the model directory's first."""
        own, (records, _) = self._store.names(), self._registry.listing()
        fits = [r.id for r in records if not misfit(r, self._family, self._encoders())]
        return [*own, *(name for name in fits if name not in own)]

    def load(self, voice_id: str) -> VoiceT:
        """Raises InvalidRequest for a voice that is unknown or another checkpoint's, and
        ModelDirectoryError or VoiceRegistryError for a damaged one."""
        if self._in_model(voice_id):
            return self._store.load(voice_id, self._kind)
        try:
            record, arrays = self._registry.open(voice_id)
        except UnknownVoice:
            raise InvalidRequest(
                "voice", f"{voice_id!r} is not registered; {self.describe()}"
            ) from None
        if problem := misfit(record, self._family, self._encoders()):
            raise InvalidRequest("voice", f"{voice_id!r} {problem}")
        try:
            return self._kind.from_arrays(arrays, record.transcript)
        except ValueError as error:
            raise VoiceRegistryError(f"{self._registry.folder}: {voice_id}: {error}") from error

    def describe(self) -> str:
        """For messages. Added voices are not named: whose they are is nobody else's business."""
        return f"{self._store.describe()}; `tritone voices` lists those that were added"

    def _in_model(self, voice_id: str) -> bool:
        return self._store.path(voice_id).is_file()

"""What is known of an added voice beside its arrays, as JSON."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from typing_extensions import Self

from tritone.config import Strict, problems
from tritone.errors import InvalidRequest
from tritone.frontend.voices import VOICE_ID

FORMAT: Final = 1
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")  # BCP 47, as far as it is used
_NO_TEXT = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # a tab and a new line are

LONGEST_NAME, LONGEST_TRANSCRIPT, LONGEST_NOTE = 100, 1000, 500  # characters
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True)
class Details:
    """What the person who adds a voice says of it.

    id: what requests call it. name: for people; the id where it is empty. transcript: what is said
    in the recording, empty if unknown. language: as en or zh-CN, empty if unknown. consent: who
    agreed to this use of the voice, and how that is known. licence: terms of its use.
    """

    id: str
    name: str = ""
    transcript: str = ""
    language: str = ""
    consent: str = ""
    licence: str = ""

    def check(self, *, consent: bool = True) -> None:
        """Raise InvalidRequest for what cannot be kept; consent: whether it must be given."""
        check_id("id", self.id)
        _check_text("name", self.name, LONGEST_NAME)
        _check_text("transcript", self.transcript, LONGEST_TRANSCRIPT)
        _check_text("consent", self.consent, LONGEST_NOTE)
        _check_text("licence", self.licence, LONGEST_NOTE)
        if self.language and not LANGUAGE.fullmatch(self.language):
            raise InvalidRequest("language", f"is {self.language[:40]!r}; write it as en or zh-CN")
        if consent and not self.consent.strip():
            raise InvalidRequest(
                "consent", "is empty; write who agreed to this use of the voice, and when or where"
            )


class VoiceRecord(Strict):
    """encoders: digest of the models that made the arrays, empty where there are none. arrays:
    digest of the named arrays, as of `tritone.voice.digest`. recording: SHA-256 of the file that
    was added, empty for a voice that came as arrays (`origin` is import). transcript: what the
    voice goes on from, as it is spoken. seconds: of speech. loudness_dbfs, snr_db: of the recording
    as it came. created: ISO 8601 in UTC. notes: on what was done to it."""

    format: Literal[1] = FORMAT
    id: str
    name: str
    transcript: str
    language: str = ""
    family: str
    encoders: Digest
    arrays: Sha256
    recording: Digest = ""
    origin: Literal["recording", "import"]
    consent: str = ""
    licence: str = ""
    seconds: float | None = None
    loudness_dbfs: float | None = None
    snr_db: float | None = None
    created: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of_text(cls, text: bytes | str) -> Self:
        """Raises ValueError saying what is wrong with it."""
        try:
            record = cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(problems(error)) from error
        try:
            record.details.check(consent=False)
        except InvalidRequest as error:
            raise ValueError(str(error)) from error
        return record

    @property
    def details(self) -> Details:
        return Details(
            self.id, self.name, self.transcript, self.language, self.consent, self.licence
        )

    def to_text(self) -> str:
        content = self.model_dump(mode="json")
        return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def check_id(field: str, voice_id: str) -> None:
    """Raise InvalidRequest for what is no id; every id is a file name and no path."""
    if not VOICE_ID.fullmatch(voice_id):
        raise InvalidRequest(
            field,
            f"has {len(voice_id)} characters and is no voice id: 1 to 64 of A-Z a-z 0-9 _ . -, not "
            "starting with . or -",
        )


def _check_text(field: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise InvalidRequest(field, f"has {len(text)} characters; the limit is {longest}")
    if bad := _NO_TEXT.search(text):
        raise InvalidRequest(field, f"has the character {bad[0]!r} at {bad.start()}; send text")

"""/v1/audio/voices: voices made of recordings, looked at and removed, while servers run."""

import re
import unicodedata
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from tritone.frontend.audio.decode import DEFAULT_LIMITS
from tritone.frontend.registry.record import Details, VoiceRecord
from tritone.frontend.voices import VOICE_ID
from tritone.gateway.access import BodySize, caller_of
from tritone.gateway.backends import Backend
from tritone.gateway.errors import ApiError, ErrorBody
from tritone.gateway.gateway import Gateway, gateway_of
from tritone.gateway.presence import NOBODY_STATUS, CallerGone, unless_gone
from tritone.gateway.settings import GatewaySettings, is_loopback
from tritone.gateway.uploads import Form, FormLimits, FormReader
from tritone.gateway.voice_work import VoiceWork
from tritone_client import SpeechError

if TYPE_CHECKING:
    from tritone.families.voice_desk import Added

PATH = "/v1/audio/voices"
FILE = "audio_sample"
FIELDS = {
    **{name: name for name in ("name", FILE, "transcript", "consent", "language", "licence")},
    "model": "model",
    "type": "type",
    "file": FILE,
    "audio": FILE,
    "ref_text": "transcript",
}
"""What a part of the form may be called -> what it is."""
LIMITS = FormLimits(most_file_bytes=DEFAULT_LIMITS.most_bytes)

_NO_ID = re.compile(r"[^a-z0-9_.-]+")
_LONGEST_ID = 64

_TEXT = {"type": "string"}
_FORM = {
    "type": "object",
    "required": ["name", FILE, "consent"],
    "additionalProperties": False,
    "properties": {
        "name": {**_TEXT, "description": "an id, or a name that one is made of"},
        FILE: {"type": "string", "format": "binary", "description": "1 to 30 s of one person"},
        "transcript": {**_TEXT, "description": "what is said in it, word for word"},
        "consent": {**_TEXT, "description": "who agreed to this use of the voice, when or where"},
        "language": {**_TEXT, "description": "as en or zh-CN"},
        "licence": {**_TEXT, "description": "terms of its use"},
        "model": {**_TEXT, "description": "that is to speak with it; the first server's if none"},
        "type": {"type": "string", "enum": [FILE]},
    },
}

router = APIRouter(
    responses={
        status: {"model": ErrorBody} for status in (400, 401, 403, 404, 408, 413, 429, 500, 501)
    }
)


class VoiceDetail(BaseModel):
    """created_at: Unix time. seconds: of speech; level and noise of the recording as it came.
    notes: what was done to it, and what could be better. origin: model for a voice of the model
    directory, of which no more is known."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    name: str
    created_at: int
    type: Literal["audio_sample"] = "audio_sample"
    origin: Literal["recording", "import", "model"]
    transcript: str = ""
    language: str = ""
    consent: str = ""
    licence: str = ""
    seconds: float | None = None
    loudness_dbfs: float | None = None
    snr_db: float | None = None
    notes: list[str] = []

    @classmethod
    def of(cls, record: VoiceRecord) -> "VoiceDetail":
        known = record.model_dump(include=set(cls.model_fields))
        created = int(datetime.fromisoformat(record.created).timestamp())
        return cls(**known, created_at=created)


class VoiceDeleted(BaseModel):
    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: Literal[True] = True


def body_size(settings: GatewaySettings) -> BodySize:
    """Of a form with a recording: the recording, and what all texts and heads may take."""
    others = len(set(FIELDS.values())) * (LIMITS.most_text_bytes + LIMITS.most_header_bytes)
    return BodySize(LIMITS.most_file_bytes + others, settings.upload_seconds)


@router.post(
    PATH,
    response_model=VoiceDetail,
    responses={409: {"model": ErrorBody}, 503: {"model": ErrorBody}},
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
    },
)
async def add(request: Request) -> Response:
    """Make a voice of a recording of one person; the servers that share the registry have it at
    once."""
    work = _allowed(request)
    with work.place():
        work.expect()
        try:
            form = await _read(request)
            details, recording = _details(form), _recording(form)
            gateway = gateway_of(request)
            backend = await gateway.backends.choose(form.texts.get("model") or "tts-1")
            made = _made(gateway, work, backend, recording, details)
            added = await unless_gone(made, request.receive)
        except (ClientDisconnect, CallerGone):
            return Response(status_code=NOBODY_STATUS)
    took = f"encoders;dur={1000 * added.encoder_seconds:.1f}, voice;dur={1000 * added.seconds:.1f}"
    return JSONResponse(
        VoiceDetail.of(added.record).model_dump(),
        headers={"X-Tritone-Voice": added.record.id, "Server-Timing": took},
    )


@router.get(f"{PATH}/{{voice_id}}")
async def get(voice_id: str, request: Request) -> VoiceDetail:
    """What is known of a voice; its sound is not given out."""
    work = _allowed(request)
    record = await work.get(voice_id)
    if record is None:
        created = gateway_of(request).started
        return VoiceDetail(id=voice_id, name=voice_id, created_at=created, origin="model")
    return VoiceDetail.of(record)


@router.delete(f"{PATH}/{{voice_id}}", responses={503: {"model": ErrorBody}})
async def remove(voice_id: str, request: Request) -> VoiceDeleted:
    """Remove an added voice; no request after this speaks with it."""
    await _allowed(request).remove(voice_id)
    return VoiceDeleted(id=voice_id)


def _allowed(request: Request) -> VoiceWork:
    """Raises ApiError for one who may not add voices, and where nobody can."""
    gateway = gateway_of(request)
    may = caller_of(request).voices
    if may is False:
        raise ApiError(
            403,
            "permission_denied",
            "this API key may not add or remove voices; one that may is made with "
            "`tritone keys add NAME --keys FILE --voices`",
        )
    if may is None:
        _check_near(request, gateway.settings)
    if gateway.voices is None:
        raise ApiError(
            501,
            "not_configured",
            "this gateway adds no voices; start it with --voices DIR, the registry that the "
            "servers read, and --voices-model DIR, their model directory",
        )
    return gateway.voices


def _check_near(request: Request, settings: GatewaySettings) -> None:
    """Without keys, programs of this machine alone may; a web page that is open on it sends such a
    form as well, and its browser says where it is from."""
    host = request.client.host if request.client else ""
    near, origin = is_loopback(host), request.headers.get("origin")
    known = origin is None or origin in settings.cors_origins or "*" in settings.cors_origins
    known = known or _is_own_page(origin or "", settings.port)
    if not (near and known):
        who = f"the web page {origin[:100]}" if near and origin else host or "an unknown machine"
        raise ApiError(
            403,
            "permission_denied",
            f"voices are changed from this machine alone as long as there are no API keys, and "
            f"not by {who}; see --keys and `tritone keys add --voices`",
        )


def _is_own_page(origin: str, port: int) -> bool:
    """Whether it is the page at / of this gateway, by an address that no other site can have."""
    try:
        page = urlsplit(origin)
        return page.scheme == "http" and page.port == port and is_loopback(page.hostname or "")
    except ValueError:
        return False


async def _read(request: Request) -> Form:
    """Raises ApiError, and ClientDisconnect for a caller who goes in its midst."""
    reader = FormReader(request.headers.get("content-type", ""), FIELDS, FILE, LIMITS)
    async for piece in request.stream():
        reader.feed(piece)
    return reader.end()


def _recording(form: Form) -> bytes:
    if form.file is None:
        raise _missing(FILE, "a sound file of 1 to 30 s")
    return form.file


def _details(form: Form) -> Details:
    """What is said of a voice, unchecked but for what the form must have."""
    texts = form.texts
    if (kind := texts.get("type", FILE)) != FILE:
        problem = f"type: is {kind[:100]!r}; the only one is {FILE}"
        raise ApiError(400, "invalid_value", problem, param="type")
    for field, what in (
        ("name", "an id, or a name that one is made of"),
        ("consent", "who agreed to this use of the voice, and when or where"),
    ):
        if not texts.get(field, "").strip():
            raise _missing(field, what)
    name = texts["name"].strip()
    said: dict[str, Any] = {
        field: texts.get(field, "") for field in ("transcript", "language", "consent", "licence")
    }
    return Details(id_of(name), name, **said)


def id_of(name: str) -> str:
    """A name that is an id is itself; of another the letters and digits that ids have, and of one
    without any a digest. So the same name has the same id."""
    if VOICE_ID.fullmatch(name):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    made = _NO_ID.sub("-", plain).strip("-.")[:_LONGEST_ID]
    return made or f"voice-{sha256(name.encode()).hexdigest()[:12]}"


def _missing(field: str, what: str) -> ApiError:
    return ApiError(400, "invalid_value", f"{field}: is missing; send {what}", param=field)


async def _made(
    gateway: Gateway, work: VoiceWork, backend: Backend, recording: bytes, details: Details
) -> "Added":
    """Added, and known to the server that it is for; else it is taken back. Raises ApiError."""
    added = await work.add(recording, details)
    try:
        there = await backend.voices()
    except SpeechError:
        return added  # it may start later
    if there and details.id not in there:
        await work.remove(details.id)
        raise ApiError(
            501,
            "not_configured",
            f"{backend.address.name or backend.address.url} does not have the voice: its registry "
            f"must be {work.registry} (--voices) and its encoders those of {work.model_dir} "
            "(--voices-model)",
        )
    return added

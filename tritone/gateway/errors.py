"""Errors in OpenAI's shape, and the one place where those of servers become such.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}

status  type                    code
400     invalid_request_error   invalid_value, nothing_to_say
401     authentication_error    invalid_api_key
403     permission_error        permission_denied
403     invalid_request_error   origin_not_allowed
404     invalid_request_error   model_not_found, voice_not_found, not_found
405     invalid_request_error   method_not_allowed
408     invalid_request_error   request_timeout
409     invalid_request_error   voice_exists
413     invalid_request_error   request_too_large
429     rate_limit_error        rate_limit_exceeded, too_many_streams, too_many_connections,
                                overloaded
500     server_error            internal_error
501     server_error            not_configured
503     server_error            unavailable
504     server_error            deadline_exceeded
"""

import logging
import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from tritone.errors import (
    InvalidRequest,
    ModelDirectoryError,
    Overloaded,
    TritoneError,
    UnknownVoice,
    VoiceExists,
)
from tritone_client import SpeechError

_LOG = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {404: "not_found", 405: "method_not_allowed"}

# Inputs of the public model -> fields of a request here.
_FIELDS = {
    "target_text": "input",
    "instruct_text": "instructions",
    **dict.fromkeys(("emotion_wav", "emotion_sample_rate"), "emotion_audio"),
}
# What the voice registry calls them -> fields of a request here.
_VOICE_FIELDS = {"id": "name", "recording": "audio_sample", "voice": "id"}
_FIELD = re.compile(r"([a-z_]+): (.*)", re.DOTALL)
_RETRY_LATER = "retry later"
_RETRY_SOON = "retry in a few seconds"
_UNKNOWN_VOICE = "is not registered"

_SHOWN = 60  # characters of a value in a message


class ErrorDetail(BaseModel):
    """What is wrong; `param` is the field at fault."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """Every answer that is none."""

    error: ErrorDetail


class ApiError(Exception):
    """A request that gets no speech.

    retry_after: seconds, for what may work later.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        message, param = _sayable(message), None if param is None else _sayable(param)
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.status, self.code = status, code
        self.detail = ErrorDetail(message=message, type=kind, param=param, code=code)
        self._retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        return ErrorBody(error=self.detail).model_dump()

    def response(self) -> JSONResponse:
        headers = {}
        if self._retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self._retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def _sayable(text: str) -> str:
    """What UTF-8 cannot say, which JSON lets through, as an escape."""
    return text.encode(errors="backslashreplace").decode()


def from_server(error: SpeechError) -> ApiError:
    """What a server's refusal is to a caller of ours."""
    text, param = error.message, None
    if error.status == "INVALID_ARGUMENT":
        if found := _FIELD.fullmatch(text):
            param = _FIELDS.get(found[1], found[1])
            text = f"{param}: {found[2]}"
        if param == "voice" and _UNKNOWN_VOICE in text:
            return ApiError(404, "voice_not_found", text, param=param)
        return ApiError(400, error.reason.lower() or "invalid_value", text, param=param)
    if error.status == "UNAVAILABLE":
        if error.retry_after is not None:
            return ApiError(429, "overloaded", text, retry_after=error.retry_after)
        if _RETRY_LATER in text:
            return ApiError(429, "overloaded", text, retry_after=1)
        if _RETRY_SOON not in text:
            _LOG.warning("a server is not there: %s", text)
            text = "the speech server is not there; retry in a few seconds"
        return ApiError(503, "unavailable", text, retry_after=3)
    if error.status == "DEADLINE_EXCEEDED":
        return ApiError(504, "deadline_exceeded", "the speech took longer than it may")
    _LOG.error("a server failed: %s: %s", error.status, text)
    return ApiError(500, "internal_error", "the speech server failed; its log says why")


def from_registry(error: TritoneError) -> ApiError:
    """What the voice registry, or its maker of voices, has against a request."""
    if isinstance(error, InvalidRequest):
        param = _VOICE_FIELDS.get(error.field, error.field)
        text = f"{param}: {str(error).removeprefix(f'{error.field}: ')}"
        if isinstance(error, VoiceExists):
            return ApiError(409, "voice_exists", text, param=param)
        if isinstance(error, UnknownVoice):
            return ApiError(404, "voice_not_found", text, param=param)
        return ApiError(400, "invalid_value", text, param=param)
    if isinstance(error, Overloaded):
        _LOG.warning("%s", error)
        problem = "others are writing the voice registry; retry in a few seconds"
        return ApiError(503, "unavailable", problem, retry_after=3)
    _LOG.error("voices: %s", error)
    if isinstance(error, ModelDirectoryError):
        problem = "no voices can be made with --voices-model of this gateway; its log says why"
        return ApiError(501, "not_configured", problem, param=None)
    return ApiError(500, "internal_error", "the voice registry failed; the gateway's log says why")


def install(app: FastAPI) -> None:
    """Have every error of this application leave in that shape."""

    async def told(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return invalid(error.errors()).response()

    async def not_served(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, ApiError):  # of a body that was too much
            return error.__cause__.response()
        code = _CODES.get(error.status_code, "invalid_value")
        return ApiError(error.status_code, code, str(error.detail)).response()

    async def failed(_: Request, error: Exception) -> JSONResponse:
        return ApiError(500, "internal_error", "the gateway failed; its log says why").response()

    app.add_exception_handler(ApiError, told)
    app.add_exception_handler(SpeechError, _server_told)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_exception_handler(HTTPException, not_served)
    app.add_exception_handler(Exception, failed)


async def _server_told(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SpeechError)
    return from_server(error).response()


def invalid(found: Sequence[Any], whole: str = "the body", within: str = "") -> ApiError:
    """The first thing that is wrong of what pydantic found, with the field and its value. whole:
    what the fields are in, for messages. within: what stands before their names."""
    first = found[0]
    path = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid":
        return ApiError(400, "invalid_value", f"{whole} is no JSON")
    if not path and first["type"] == "value_error":  # of several fields; begins with one of them
        problem = str(first["msg"]).removeprefix("Value error, ")
        return ApiError(400, "invalid_value", problem, param=problem.partition(":")[0])
    if not path:
        problem = f"{whole} must be a JSON object with model and input"
        return ApiError(400, "invalid_value", problem)
    problem = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] not in ("missing", "extra_forbidden"):
        value = repr(first.get("input"))
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
        problem = f"is {shown}; {problem}"
    field = f"{within}{path[0]}"
    return ApiError(400, "invalid_value", f"{field}: {problem}", param=field)

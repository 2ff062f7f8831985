"""Answers and errors: the one place where exceptions become Triton error codes, and back.

Between models of one server only an error's message survives (Triton 2.51 makes every code INTERNAL
on its way through a business logic call), so the inner models name the kind in front of it.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import triton_python_backend_utils as pb_utils

from tritone.errors import Cancelled, InvalidRequest, Overloaded, StageFailed, TritoneError

PUBLIC = "cosyvoice2"  # its errors go to people, without the kind in front
KINDS = (InvalidRequest, Overloaded, Cancelled, StageFailed)


def error_of(error: Exception, stage: str) -> Any:
    """The TritonError that tells a client, or the orchestrator, what happened."""
    codes = pb_utils.TritonError
    code = {
        InvalidRequest: codes.INVALID_ARG,
        Overloaded: codes.UNAVAILABLE,
        Cancelled: codes.CANCELLED,
    }.get(type(error), codes.INTERNAL)
    if not isinstance(error, TritoneError):
        error = StageFailed(stage, f"{type(error).__name__}: {error}")
    return codes(str(error) if stage == PUBLIC else f"{type(error).__name__}: {error}", code)


def raise_error(reply: Any, stage: str) -> None:
    """Raise what a stage answered with, if it is an error."""
    if not reply.has_error():
        return
    message = reply.error().message()
    kind, _, text = message.partition(": ")
    head, _, tail = text.partition(": ")
    if kind == InvalidRequest.__name__:
        raise InvalidRequest(head, tail)
    for plain in (Overloaded, Cancelled):
        if kind == plain.__name__:
            raise plain(text)
    raise StageFailed(stage, tail if (kind, head) == (StageFailed.__name__, stage) else message)


def answer(requests: list[Any], run: Callable[[Any], Any], stage: str) -> list[Any]:
    """One response for each request; an error stays with its own request."""
    responses = []
    for request in requests:
        try:
            responses.append(run(request))
        except Exception as error:
            _log(error, stage)
            responses.append(pb_utils.InferenceResponse(error=error_of(error, stage)))
    return responses


@contextmanager
def respond(sender: Any, stage: str) -> Iterator[Callable[[Any], None]]:
    """Send responses of a decoupled request; an error is sent too, and always exactly one FINAL."""
    final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    try:
        yield sender.send
    except Exception as error:
        _log(error, stage)
        sender.send(pb_utils.InferenceResponse(error=error_of(error, stage)), flags=final)
    else:
        sender.send(flags=final)


def _log(error: Exception, stage: str) -> None:
    """The caller's own mistakes and cancellations are not the server's trouble."""
    if isinstance(error, (InvalidRequest, Cancelled)):
        pb_utils.Logger.log_verbose(f"{stage}: {error}")
    elif isinstance(error, TritoneError):
        pb_utils.Logger.log_warn(f"{stage}: {error}")
    else:
        pb_utils.Logger.log_error("".join(traceback.format_exception(error)))

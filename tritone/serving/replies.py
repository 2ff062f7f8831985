"""Answers and errors: the one place where exceptions become Triton error codes, and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import triton_python_backend_utils as pb_utils

from tritone.errors import Cancelled, InvalidRequest, Overloaded, StageFailed, TritoneError


def error_of(error: Exception, stage: str) -> Any:
    """The TritonError that tells a client what happened."""
    codes = pb_utils.TritonError
    for kind, code in (
        (InvalidRequest, codes.INVALID_ARG),
        (Overloaded, codes.UNAVAILABLE),
        (Cancelled, codes.CANCELLED),
        (TritoneError, codes.INTERNAL),
    ):
        if isinstance(error, kind):
            return codes(str(error), code)
    return codes(f"{stage}: {type(error).__name__}: {error}", codes.INTERNAL)


def raise_error(reply: Any, stage: str) -> None:
    """Raise what a stage answered with, if it is an error."""
    if not reply.has_error():
        return
    error, codes = reply.error(), pb_utils.TritonError
    message, code = error.message(), error.code()
    if code == codes.INVALID_ARG:
        field, _, problem = message.partition(": ")
        raise InvalidRequest(field, problem)
    if code == codes.UNAVAILABLE:
        raise Overloaded(message)
    if code == codes.CANCELLED:
        raise Cancelled(message)
    raise StageFailed(stage, message.removeprefix(f"{stage}: "))


def answer(requests: list[Any], run: Callable[[Any], Any], stage: str) -> list[Any]:
    """One response for each request; an error stays with its own request."""
    responses = []
    for request in requests:
        try:
            responses.append(run(request))
        except Exception as error:
            log(error, stage)
            responses.append(pb_utils.InferenceResponse(error=error_of(error, stage)))
    return responses


@contextmanager
def respond(sender: Any, stage: str) -> Iterator[Callable[[Any], None]]:
    """Send responses of a decoupled request; an error is sent too, and always exactly one FINAL."""
    try:
        yield sender.send
    except Exception as error:
        log(error, stage)
        if not sender.is_cancelled():
            sender.send(pb_utils.InferenceResponse(error=error_of(error, stage)))
    finally:
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def log(error: Exception, stage: str) -> None:
    """The caller's own mistakes and cancellations are not the server's trouble."""
    if isinstance(error, (InvalidRequest, Cancelled)):
        pb_utils.Logger.log_verbose(f"{stage}: {error}")
    elif isinstance(error, TritoneError):
        pb_utils.Logger.log_warn(f"{stage}: {error}")
    else:
        import traceback

        pb_utils.Logger.log_error(f"{stage}: {''.join(traceback.format_exception(error))}")

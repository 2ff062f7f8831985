"""The one place where exceptions become Triton's errors, and back.

Triton 2.51 keeps an error's message but not its code, neither on the way through a business logic
call (all become INTERNAL) nor on a gRPC stream (none is sent). So what a reader must know stands in
front of the message: for the orchestrator the kind of error, for clients the gRPC status.
"""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone.errors import (
    Cancelled,
    InvalidRequest,
    NothingToSay,
    Overloaded,
    StageFailed,
    TritoneError,
)
from tritone.serving.generation_tensors import FAILURE
from tritone.serving.log_text import loggable, loggable_stack

# Triton's own words of a model that is being loaded, and of one that is unloaded, as by a server
# that ends.
NOT_READY = (" is not ready.", " has no available versions")


def failure(error: Exception, stage: str, *, public: bool = False) -> Any:
    """The response that tells the orchestrator, or a client of a public model, what happened; what
    is the server's trouble, and not the caller's own, is logged as such."""
    code, status, error = _logged(error, stage)
    message = f"{status if public else type(error).__name__}: {error}"
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def late_failure(error: Exception, stage: str) -> Any:
    """As `failure`, for the orchestrator when it has had a response of this request: in Triton 2.51
    no error reaches it then, so the words of this one are an output. The last response goes after
    it, apart: it would wait for ever for one that is both."""
    error = _logged(error, stage)[-1]
    words = f"{type(error).__name__}: {error}".encode()
    output = pb_utils.Tensor(FAILURE, np.array([[words]], np.object_))
    return pb_utils.InferenceResponse(output_tensors=[output])


def _logged(error: Exception, stage: str) -> tuple[int, str, Exception]:
    """Triton's code, the gRPC status, and the error that is told."""
    log = pb_utils.Logger
    if isinstance(error, (InvalidRequest, Cancelled)):
        log.log_verbose(f"{stage}: {loggable(error)}")
    elif isinstance(error, TritoneError):
        log.log_warn(f"{stage}: {loggable(error)}")
    else:
        log.log_error(loggable_stack(error, stage))
        error = StageFailed(stage, f"{type(error).__name__}: {error}")
    codes = pb_utils.TritonError
    code, status = {
        InvalidRequest: (codes.INVALID_ARG, "INVALID_ARGUMENT"),
        NothingToSay: (codes.INVALID_ARG, "INVALID_ARGUMENT: NOTHING_TO_SAY"),
        Overloaded: (codes.UNAVAILABLE, "UNAVAILABLE"),
        Cancelled: (codes.CANCELLED, "CANCELLED"),
    }.get(type(error), (codes.INTERNAL, "INTERNAL"))
    return code, status, error


def raise_error(reply: Any, stage: str) -> None:
    """Raise what a stage answered with, if it is an error."""
    if reply.has_error():
        raise error_of(reply.error().message(), stage)
    words = pb_utils.get_output_tensor_by_name(reply, FAILURE)
    if words is not None:
        raise error_of(words.as_numpy().item().decode(), stage)


def error_of(message: str, stage: str) -> TritoneError:
    """The error that a stage answered with in these words."""
    kind, _, text = message.partition(": ")
    head, _, tail = text.partition(": ")
    for refusal in (InvalidRequest, NothingToSay):
        if kind == refusal.__name__:
            return refusal(head, tail)
    for plain in (Overloaded, Cancelled):
        if kind == plain.__name__:
            return plain(text)
    if message.endswith(NOT_READY):
        return Overloaded(f"{stage} is being started again; retry in a few seconds")
    return StageFailed(stage, tail if kind == StageFailed.__name__ else message)

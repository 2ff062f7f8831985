"""What comes and goes: inputs read, outputs made, and answers sent."""

import hmac
import json
import math
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest, StageFailed
from tritone.serving.beat import WORK
from tritone.serving.failures import failure
from tritone.triton_models import INNER_PARAMETER, PLACE_PARAMETER
from tritone.unwanted_board import NO_PLACE
from tritone.variables import INNER_KEY_VARIABLE

_INNER_KEY = os.environ.get(INNER_KEY_VARIABLE, "")

LONGEST_ID = 1000  # characters


class Inputs:
    """The inputs of one request by wire name. An absent input is None or the given default.

    Batch dimensions of one are dropped: values are flat arrays or scalars.
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    def array(self, name: str) -> NDArray[Any] | None:
        """The flat values of an input; raises InvalidRequest for a batch of more than one."""
        tensor = pb_utils.get_input_tensor_by_name(self._request, name)
        return None if tensor is None else tensor.as_numpy().reshape(-1)

    def shaped(self, name: str, *shape: int) -> Float32 | None:
        """A float array of the given shape, -1 for what follows from the size; raises
        InvalidRequest for values that do not fill one."""
        values = self.array(name)
        if values is None:
            return None
        known = math.prod(size for size in shape if size >= 0)
        if values.size % known if known else values.size:
            raise InvalidRequest(name, f"has {values.size} values; they make no array of {shape}")
        if not known:
            return np.zeros([max(0, size) for size in shape], np.float32)
        return values.astype(np.float32, copy=False).reshape(shape)

    def integers(self, name: str) -> Int32 | None:
        values = self.array(name)
        return None if values is None else values.astype(np.int32, copy=False)

    def scalar(self, name: str, default: Any = None) -> Any:
        """The one value of an input as a Python value."""
        values = self.array(name)
        if values is None:
            return default
        if values.size != 1:
            raise InvalidRequest(name, f"has {values.size} values; it takes one")
        return values[0].item() if isinstance(values[0], np.generic) else values[0]

    def flag(self, name: str, default: bool = False) -> bool:
        return bool(self.scalar(name, default))

    def text(self, name: str) -> str | None:
        value = self.scalar(name)
        if value is None:
            return None
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError as error:
            raise InvalidRequest(name, f"is not UTF-8 text: {error}") from error


def brings_key(request: Any) -> bool:
    """Whether a model of this server sent it: it brings the server's key (TRITONE_INNER_KEY), or
    the server has none."""
    brought = parameter(request, INNER_PARAMETER)
    return not _INNER_KEY or hmac.compare_digest(str(brought).encode(), _INNER_KEY.encode())


def parameter(request: Any, name: str) -> Any:
    """What a request has under this name beside its tensors; None for nothing."""
    return parameters_of(request).get(name)


def parameters_of(request: Any) -> dict[str, Any]:
    """What a request has beside its tensors; nothing where one of them is no text, as HTTP lets
    through: then its id is, which is refused by name."""
    try:
        given: dict[str, Any] = json.loads(request.parameters() or "{}")
    except UnicodeDecodeError:
        return {}
    return given


def inner_inputs(request: Any) -> Inputs:
    """Those of a request to an inner model. Raises InvalidRequest where no model of this server
    sent it."""
    if not brings_key(request):
        raise InvalidRequest(
            "model_name",
            "is that of an inner model, which takes no requests of clients; call the public "
            "model, or start the server with --open-inner-models",
        )
    return Inputs(request)


def inner_parameters(place: int = NO_PLACE) -> dict[str, str | int]:
    """What a request to an inner model brings. place: of its stream, on the `UnwantedBoard`."""
    brought: dict[str, str | int] = {INNER_PARAMETER: _INNER_KEY} if _INNER_KEY else {}
    return brought if place == NO_PLACE else {**brought, PLACE_PARAMETER: place}


def request_id(request: Any) -> str:
    """The client's id, which may be empty. Raises InvalidRequest for one that is no text, as HTTP
    lets through, and for one too long for a line of the log."""
    try:
        given: str = request.request_id()
    except UnicodeDecodeError as error:
        raise InvalidRequest("id", f"is not UTF-8 text: {error}") from error
    if len(given) > LONGEST_ID:
        raise InvalidRequest("id", f"has {len(given)} characters; the limit is {LONGEST_ID}")
    return given


def tensor(name: str, values: NDArray[Any]) -> Any:
    return pb_utils.Tensor(name, np.ascontiguousarray(values))


def response(*tensors: Any) -> Any:
    return pb_utils.InferenceResponse(output_tensors=list(tensors))


def _response(run: Callable[[], Any], stage: str) -> Any:
    """What `run` returns, or its error."""
    try:
        return run()
    except Exception as error:
        return failure(error, stage)


def answer(requests: list[Any], run: Callable[[Any], Any], stage: str) -> list[Any]:
    """One response for each request; an error stays with its own request."""
    with WORK.request():
        return [_response(partial(run, request), stage) for request in requests]


def answer_together(
    requests: list[Any],
    start: Callable[[Any], Generator[Any, Any, Any]],
    run: Callable[[list[Any]], list[Any]],
    stage: str,
) -> list[Any]:
    """As `answer`, with the main work of all requests done at once.

    start: a generator function of a request, which may yield one job, is sent the job's result, and
    returns the response. run: all jobs to their results, an exception in place of a failed one.
    """
    works = [start(request) for request in requests]
    jobs = [_advance(partial(next, work), stage) for work in works]
    waiting = [job for job in jobs if not isinstance(job, _Done)]
    with WORK.request():
        try:
            results = iter(run(waiting))
        except Exception as error:  # of all: none has a result
            results = repeat(error)
        try:
            return [_answer_of(*pair, results, stage) for pair in zip(works, jobs, strict=True)]
        finally:
            del results  # an error among them may know this frame, as below


class _Done(NamedTuple):
    """A request that has its response."""

    response: Any


def _advance(go_on: Callable[[], Any], stage: str) -> Any:
    """The job that a request's work asks for, or _Done; no error, which would know the frames of
    whoever keeps it."""
    try:
        return go_on()
    except StopIteration as end:
        return _Done(end.value)
    except Exception as error:
        return _Done(failure(error, stage))
    finally:
        del go_on


def _answer_of(work: Generator[Any, Any, Any], job: Any, results: Iterator[Any], stage: str) -> Any:
    if isinstance(job, _Done):
        return job.response
    try:
        result = next(results, StageFailed(stage, "gave no result"))
        go_on = work.throw if isinstance(result, Exception) else work.send
        done = _advance(partial(go_on, result), stage)
    finally:
        del results, result, go_on
    if not isinstance(done, _Done):
        done = _Done(failure(StageFailed(stage, "asked for a second job"), stage))
    return done.response


@contextmanager
def respond(sender: Any, stage: str, *, public: bool = False) -> Iterator[Callable[[Any], None]]:
    """Send responses of a decoupled request; an error is sent too, and always exactly one FINAL.

    public: of the model that clients call. What it waits for is other models' work.
    """
    final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL

    def send(reply: Any) -> None:
        sender.send(reply)
        WORK.went_on()

    try:
        with nullcontext() if public else WORK.request():
            yield send
    except Exception as error:
        sender.send(failure(error, stage, public=public), flags=final)
    else:
        sender.send(flags=final)


def respond_once(sender: Any, stage: str, run: Callable[[], Any]) -> None:
    """Send the one response of a request that is answered later, or its error."""
    with WORK.request():
        reply = _response(run, stage)
    sender.send(reply, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

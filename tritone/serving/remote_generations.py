"""Generations of another server: what `tensorrt_llm` is asked here is passed on to the one there.

Tensors go through as they are, so this is the same for every runtime, family and kind of request:
new generations, more of an open text, stops.

When that server is lost this process ends. That is what makes the loss known: running streams end
with an error, the server is no longer ready, and the launcher has the model loaded again, which
lasts until the other server is back.
"""

import os
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import grpc
import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as messages
from tritonclient.utils import deserialize_bytes_tensor, triton_to_np_dtype

from tritone.errors import StageFailed, TritoneError
from tritone.serving.cancellation import CallerWatch
from tritone.serving.failures import error_of, late_failure
from tritone.serving.messages import (
    parameters_of,
    request_id,
    respond,
    response,
    tensor,
)
from tritone.serving.parameters import changed_parameters, given_parameters
from tritone.serving.remote_server import RemoteServer, inference, is_last, is_loss, words
from tritone.serving.remote_settings import RemoteSettings
from tritone.triton_models import INNER_PARAMETER, LANGUAGE_MODEL, PLACE_PARAMETER

_QUIET_S = 0.5  # that the end of this process waits for messages to the server
_OF_THIS_SERVER = (INNER_PARAMETER, PLACE_PARAMETER)


class RemoteGenerations:
    """Of a server that is there; passes on until `close`."""

    def __init__(self, server: RemoteServer) -> None:
        self._server = server
        self._speaking = threading.Lock()
        server.watch(self._lost)

    def start(self, request: Any, sender: Any) -> None:
        """Pass a request on; its answers are sent as they come."""
        given = {one.name(): _batched(one.as_numpy()) for one in request.inputs()}
        name = request_id(request)
        more = {k: v for k, v in parameters_of(request).items() if k not in _OF_THIS_SERVER}
        asked = inference(name, given, request.requested_output_names(), more)
        threading.Thread(
            target=self._pass_on,
            args=(asked, _InTurn(sender, self._speaking)),
            name=f"generation {name}",
            daemon=True,
        ).start()

    def _pass_on(self, asked: messages.ModelInferRequest, sender: "_InTurn") -> None:
        with respond(sender, LANGUAGE_MODEL) as send:
            problem: Exception | None
            try:
                problem = self._answer(asked, sender, send)
            except grpc.RpcError as error:
                problem = self._failed(words(error), lost=is_loss(error))
            except Exception as error:
                problem = error
            if problem and not sender.has_spoken:
                raise problem
            if problem:
                send(late_failure(problem, LANGUAGE_MODEL))

    def _answer(
        self, asked: messages.ModelInferRequest, sender: "_InTurn", send: Any
    ) -> TritoneError | None:
        """The error that it ends with, if any. All answers are read, wanted or not. Raises
        grpc.RpcError."""
        caller, wanted, whole = CallerWatch(sender), True, False
        problem: TritoneError | None = None
        with closing(self._server.call(asked)) as answers:
            for answer in answers:
                whole = is_last(answer)
                if answer.error_message:
                    problem = error_of(answer.error_message, LANGUAGE_MODEL)
                elif wanted and answer.infer_response.outputs:
                    send(_response(answer.infer_response))
                if wanted and caller.gone():
                    wanted = not self._stops(asked.id)
        if not (whole or problem):  # what came must not pass for all of the speech
            return self._failed("its answers ended before the last one", lost=True)
        return problem

    def _failed(self, why: str, *, lost: bool) -> StageFailed:
        """The error of a generation. lost: so are all others, and it does not return, unless they
        were to be."""
        if lost:
            self._lost(why)
        return StageFailed(LANGUAGE_MODEL, f"{self._server.address}: {why}")

    def _stops(self, name: str) -> bool:
        """Whether the other server has heard that nobody wants this generation any more. Raises as
        its `stop`."""
        try:
            self._server.stop(name)
        except grpc.RpcError as error:
            if is_loss(error):
                raise
            return False  # it is told with the next answer again: the generation's call goes on
        return True

    def _lost(self, why: str) -> None:
        """Ends this process, at a moment at which it says nothing to the server, not even for its
        log: Triton 2.51 ends too where it finds a lock of their memory left by the dead. Returns
        where there is nothing to be lost any more."""
        if self._server.closed:
            return
        sys.stderr.write(f"{LANGUAGE_MODEL}: the server at {self._server.address} is away: {why}\n")
        sys.stderr.flush()
        self._speaking.acquire(timeout=_QUIET_S)
        os._exit(1)

    def close(self) -> None:
        self._server.close()


class _InTurn:
    """A sender of responses, of which one at a time speaks to the server."""

    def __init__(self, sender: Any, speaking: threading.Lock) -> None:
        self._sender, self._speaking = sender, speaking
        self.has_spoken = False

    def send(self, *arguments: Any, **named: Any) -> None:
        self.has_spoken = True
        with self._speaking:
            self._sender.send(*arguments, **named)

    def is_cancelled(self) -> bool:
        with self._speaking:
            return bool(self._sender.is_cancelled())


def opened(args: Mapping[str, str]) -> RemoteGenerations:
    """Of the server that the model's parameter `url` names, once that is ready.

    Raises EnvironmentProblem for a parameter that cannot be meant, a file that cannot be used, or a
    key that is not taken.
    """
    server = RemoteServer(RemoteSettings.of(given_parameters(args), changed_parameters(args)))
    server.wait(
        lambda why: pb_utils.Logger.log_warn(f"waiting for the server at {server.address}: {why}")
    )
    return RemoteGenerations(server)


def _batched(values: NDArray[Any]) -> NDArray[Any]:
    """With the leading dimension of one, which Triton takes from inputs that it reshapes."""
    return values.reshape(1, -1) if values.ndim < 2 else values


def _response(given: messages.ModelInferResponse) -> Any:
    """The same for a reader here."""
    pairs = zip(given.outputs, given.raw_output_contents, strict=True)
    return response(*(tensor(output.name, _values(output, raw)) for output, raw in pairs))


def _values(output: Any, raw: bytes) -> NDArray[Any]:
    if output.datatype == "BYTES":
        values: NDArray[Any] = deserialize_bytes_tensor(raw)
    else:
        values = np.frombuffer(raw, triton_to_np_dtype(output.datatype))
    return values.reshape(tuple(output.shape))

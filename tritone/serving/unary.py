"""The whole utterance in one answer, for clients that cannot stream: gRPC's ModelInfer, and
`infer` over HTTP.

The model that the parameter `public_model` names speaks it, so it is admitted, counted and logged
there, once. Inputs and outputs are the same; `model.py` imports `TritonPythonModel` from here.
"""

import os
import secrets
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone.serving.cancellation import CallerWatch
from tritone.serving.decoupled_call import GATE, read, start
from tritone.serving.failures import NOT_READY, failure
from tritone.serving.messages import (
    Inputs,
    inner_parameters,
    request_id,
    respond_once,
    response,
    tensor,
)
from tritone.serving.neighbours import Neighbours
from tritone.serving.parameters import parameters, watched
from tritone.serving.unary_calls import CALL, CALLER, ENDED, MODEL, STOP, order, said

_LOOK_S = 0.05  # whether a caller still waits
_LOST = "UNAVAILABLE: {} is being started again; retry in a few seconds"


class _Wait:
    """For the end of one call. error: that it ended with, empty for none."""

    def __init__(self) -> None:
        self.error, self.ended = "", threading.Event()

    def end(self, error: str) -> None:
        self.error = error
        self.ended.set()


class TritonPythonModel:
    """One instance serves all callers from threads."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self._name = args["model_name"]
        with watched(self._name):
            self._public = parameters(args, public_model="")["public_model"]
            self._waiting: dict[str, _Wait] = {}  # by the name of the call
            self._neighbours = Neighbours([self._public], self._lost, lambda _: GATE.forget())

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            sender = request.get_response_sender()
            if (call := said(request, ENDED)) is not None:
                if wait := self._waiting.get(call):
                    wait.end(Inputs(request).text("target_text") or "")
                respond_once(sender, self._name, response)
            else:
                threading.Thread(
                    target=self._serve, args=(request, sender), name="unary", daemon=True
                ).start()

    def _lost(self, _: str) -> None:
        """The public model's process has ended: nothing more comes."""
        GATE.forget()
        for wait in list(self._waiting.values()):
            wait.end(_LOST.format(self._public))

    def _serve(self, request: Any, sender: Any) -> None:
        name, wait = secrets.token_hex(16), _Wait()
        self._waiting[name] = wait
        try:
            reply = self._spoken(request, CallerWatch(sender), name, wait)
        except Exception as error:
            reply = failure(error, self._name, public=True)
        finally:
            del self._waiting[name]
        sender.send(reply, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _spoken(self, request: Any, caller: CallerWatch, name: str, wait: _Wait) -> Any:
        responses = start(self._call(request, name))
        replies = read(responses)
        if (first := next(replies)).has_error():  # Triton's own: the model is not there
            return _error(first.error().message())
        while not wait.ended.wait(_LOOK_S):
            if caller.gone():
                self._stop(name)
                wait.ended.wait()
        if self._neighbours.lost:
            return _error(wait.error)
        packets = list(replies)
        return _error(wait.error) if wait.error else _joined(packets)

    def _call(self, request: Any, name: str) -> Any:
        """The client's request to the public model. A whole utterance is made in one piece, unless
        the client asks for it chunk by chunk."""
        inputs = list(request.inputs())
        if all(given.name() != "streaming" for given in inputs):
            inputs.append(tensor("streaming", np.zeros((1, 1), np.bool_)))
        return pb_utils.InferenceRequest(
            model_name=self._public,
            requested_output_names=list(request.requested_output_names()),
            inputs=inputs,
            parameters={**inner_parameters(), CALL: name, MODEL: self._name, CALLER: os.getpid()},
            request_id=request_id(request),
        )

    def _stop(self, name: str) -> None:
        for _ in read(start(order(self._public, STOP, name))):
            pass

    def finalize(self) -> None:
        self._neighbours.close()


def _joined(replies: list[Any]) -> Any:
    """One response of all; the last has the whole timing record."""
    packets = [{t.name(): t.as_numpy() for t in reply.output_tensors()} for reply in replies]
    packets = [packet for packet in packets if packet]
    wave = np.concatenate([packet["waveform"] for packet in packets], axis=1)
    outputs = [tensor("waveform", wave)]
    if (timing := packets[-1].get("timing")) is not None:
        outputs.append(tensor("timing", timing))
    return response(*outputs)


def _error(message: str) -> Any:
    """What the public model refused or failed with, under the code that its message begins with;
    that of the error itself does not come through."""
    codes = pb_utils.TritonError
    code = {
        "INVALID_ARGUMENT": codes.INVALID_ARG,
        "UNAVAILABLE": codes.UNAVAILABLE,
        "CANCELLED": codes.CANCELLED,
    }.get(message.partition(":")[0], codes.INTERNAL)
    if message.endswith(NOT_READY):
        code = codes.UNAVAILABLE
    return pb_utils.InferenceResponse(error=codes(message, code))

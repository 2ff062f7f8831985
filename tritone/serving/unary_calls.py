"""How the unary model of a server has its public model speak, seen from the public model.

The call lasts as long as the speech, so Triton keeps the public model loaded for it. Its first
response is empty and comes at once; the others lie there until the public model tells the unary one
that there will be no more. To wait for them one by one would hold up every other call of that
process (see `CallGate`), until the next packet of the slowest.

Triton 2.51 tells a model nothing of a caller inside the server that has gone, so the unary model
says it, and the end of its process is seen here. Nor does an error reach a caller that has had a
response: it travels with the word that there will be no more.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from tritone.launcher.readable import readable
from tritone.serving.frontend_tensors import text_array
from tritone.serving.messages import brings_key, inner_parameters, parameter, response, tensor

CALL = "tritone_call"  # the call's name, made by the unary model
MODEL = "tritone_model"  # that model's own name
CALLER = "tritone_caller"  # its process
STOP = "tritone_stop"  # to the public model: nobody waits for the call of this name any more
ENDED = "tritone_ended"  # to the unary model: the call of this name has had its last response

_NOTHING = np.zeros((1, 1), np.float32)


def said(request: Any, name: str) -> str | None:
    """One of these, where a model of this server says it."""
    value = parameter(request, name)
    return str(value) if value is not None and brings_key(request) else None


def order(model: str, name: str, call: str, text: str = "") -> Any:
    """One of the last two, not yet sent. text: what comes along."""
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=["waveform"],
        inputs=[tensor("target_text", text_array(text)[None])],
        parameters={**inner_parameters(), name: call},
    )


class UnaryCall:
    """Who waits for the speech of one request: what `CallerWatch` is for other clients."""

    def __init__(self, process: int | None, tell: Callable[[str], object]) -> None:
        """process: descriptor of the unary model's; None where that has ended already. tell: called
        once, after the last response, with the error if that was one."""
        self._process, self._tell = process, tell
        self._stopped, self._closed = process is None, False
        self._changing = threading.Lock()

    def stop(self) -> None:
        self._stopped = True

    def gone(self) -> bool:
        with self._changing:
            if self._process is not None:
                self._stopped |= bool(readable([self._process], 0))
        return self._stopped

    def ended(self, error: str) -> None:
        """The last response was sent, or this error took its place; a second call does nothing."""
        with self._changing:
            closed, self._closed = self._closed, True
            process, self._process = self._process, None
        if process is not None:
            os.close(process)
        if not closed:
            self._tell(error)


class UnaryCalls:
    """Those that are being spoken for."""

    def __init__(self) -> None:
        self._open: dict[str, UnaryCall] = {}

    def of(self, request: Any) -> UnaryCall | None:
        """The call that begins with this request; None for a client's own."""
        if (name := said(request, CALL)) is None:
            return None
        tell = partial(self._tell, str(parameter(request, MODEL)), name)
        call = self._open[name] = UnaryCall(_process(parameter(request, CALLER)), tell)
        request.get_response_sender().send(response(tensor("waveform", _NOTHING)))
        return call

    def stop(self, name: str) -> None:
        if call := self._open.get(name):
            call.stop()

    def _tell(self, model: str, name: str, error: str) -> None:
        """That the other model is not there is no matter here: then nobody waits."""
        self._open.pop(name, None)
        order(model, ENDED, name, error).exec()


def _process(number: Any) -> int | None:
    with suppress(OSError, TypeError, ValueError):
        return os.pidfd_open(int(number))
    return None

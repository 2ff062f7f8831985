"""The server whose `tensorrt_llm` is used in the place of one here: its connection, and whether it
is there."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from tritone.errors import EnvironmentProblem
from tritone.loading.steps import step
from tritone.serving.generation_tensors import OUTPUTS, stop_tensors
from tritone.serving.remote_settings import RemoteSettings
from tritone.triton_models import INNER_PARAMETER, LANGUAGE_MODEL

LOOK_S = 0.4  # between two looks whether it is there
ANSWER_S = 1.0  # that it may take to say so, or to stop a generation; then it is silent
_IDLE_LOOKS = 5  # in a row that it may be silent while nobody waits for it: it may only be busy

_REFUSED = "InvalidRequest: model_name"  # of a caller without the key


class RemoteServer:
    """Connected; `wait` for it, then `watch` it. Raises EnvironmentProblem for settings that
    cannot be used."""

    def __init__(self, settings: RemoteSettings) -> None:
        self.address, self._deadline_s = settings.url, settings.deadline_seconds
        self._key, self._channel = settings.key, settings.channel()
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._over = threading.Event()
        self._heard = 0.0
        self._calls = 0  # that are not over
        self._counting = threading.Lock()

    def wait(self, tell: Callable[[str], object]) -> None:
        """Until its model answers: how long that may take is for the launcher to say. tell: called
        with the reason why it does not yet, whenever that changes. Raises EnvironmentProblem where
        it does not take the key."""
        told = ""
        with step("LLM server"):
            while why := self._absence()[0] or self._refusal():
                if why != told:
                    tell(why)
                told = why
                time.sleep(LOOK_S)

    def _refusal(self) -> str:
        """Why it does not stop a generation that nobody began; empty if it does."""
        try:
            return self.stop(secrets.token_hex(8))
        except grpc.RpcError as error:
            return words(error)

    def watch(self, lost: Callable[[str], object]) -> None:
        """Call `lost` once, in a thread, when it is away, with the reason: at once where it says
        so or the connection ends, and less than 1.5 s after it fell silent to a call."""

        def look() -> None:
            silent = 0
            while not self._over.wait(LOOK_S):
                why, silence = self._absence()
                silent = silent + 1 if silence else 0
                patient = 0 < silent < _IDLE_LOOKS and not self._calls
                if why and not patient and not self._over.is_set():
                    lost(why)
                    return

        threading.Thread(target=look, name="remote server", daemon=True).start()

    def _absence(self) -> tuple[str, bool]:
        """Why its model cannot be asked, empty while it can; and whether that is silence alone."""
        asked = messages.ModelReadyRequest(name=LANGUAGE_MODEL)
        begun = time.monotonic()
        try:
            ready = self._stub.ModelReady(asked, timeout=ANSWER_S).ready
        except grpc.RpcError as error:
            if self._heard > begun:  # it is only busy
                return "", False
            return words(error), error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return "" if ready else f"its {LANGUAGE_MODEL} is not ready", False

    def call(
        self, request: messages.ModelInferRequest, seconds: float | None = None
    ) -> Iterator[messages.ModelStreamInferResponse]:
        """Its answers to the request, as they come. Read them to their end: a server of Triton 2.51
        may crash where a call is cancelled. seconds: that they may take, if not the deadline.

        Raises grpc.RpcError.
        """
        if self._key:
            request.parameters[INNER_PARAMETER].string_param = self._key
        with self._counted():
            answers = self._stub.ModelStreamInfer(
                iter([request]), timeout=seconds or self._deadline_s
            )
            for answer in answers:
                self._heard = time.monotonic()
                yield answer

    def stop(self, name: str) -> str:
        """End the generation of this request id; the error that it answers with, else nothing.

        Raises EnvironmentProblem where it does not take the key, and grpc.RpcError.
        """
        asked = inference(name, stop_tensors(), OUTPUTS)
        problem = ""
        for answer in self.call(asked, ANSWER_S):
            problem = problem or answer.error_message
        if problem.startswith(_REFUSED):
            raise EnvironmentProblem(
                f"the server at {self.address} does not take the key: parameter key_file of "
                f"{LANGUAGE_MODEL} must name the one that it was started with (--inner-key-file)"
            )
        return problem

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._counting:
            self._calls += 1
        try:
            yield
        finally:
            with self._counting:
                self._calls -= 1

    @property
    def closed(self) -> bool:
        return self._over.is_set()

    def close(self) -> None:
        self._over.set()
        self._channel.close()


def inference(
    name: str, tensors: Mapping[str, NDArray[Any]], outputs: Iterable[str]
) -> messages.ModelInferRequest:
    """A request to the model. name: its id. tensors: of numbers, with their leading dimension."""
    asked = messages.ModelInferRequest(model_name=LANGUAGE_MODEL, id=name)
    for key, values in tensors.items():
        named = asked.inputs.add(name=key, datatype=np_to_triton_dtype(values.dtype))
        named.shape.extend(values.shape)
        asked.raw_input_contents.append(np.ascontiguousarray(values).tobytes())
    for output in outputs:
        asked.outputs.add(name=output)
    return asked


def words(error: grpc.RpcError) -> str:
    """What an error of a call says."""
    return f"{error.code().name}: {error.details()}"

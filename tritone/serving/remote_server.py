"""The server whose `tensorrt_llm` is used in the place of one here: its connection, and whether it
is there."""

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
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
from tritone.serving.beat import is_heard
from tritone.serving.generation_tensors import OUTPUTS, stop_tensors
from tritone.serving.remote_settings import RemoteSettings
from tritone.triton_models import INNER_PARAMETER, LANGUAGE_MODEL

LOOK_S = 0.4  # between two looks whether it is there
ANSWER_S = 1.0  # that it may take to say so; then it is silent
MODEL_S = 3.0  # that its model's process may take to stop a generation: it computes too
_IDLE_LOOKS = 5  # in a row that it may be silent while nobody waits for it: it may only be busy

_REFUSED = "InvalidRequest: model_name"  # of a caller without the key
_OF_ONE = (  # of one request, of which a server is well, or a proxy before it
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)
_FIELDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
NO_PARAMETERS: Mapping[str, Any] = {}


class RemoteServer:
    """Connected; `wait` for it, then `watch` it. Raises EnvironmentProblem for settings that
    cannot be used."""

    def __init__(self, settings: RemoteSettings) -> None:
        self.address, self._deadline_s = settings.url, settings.deadline_seconds
        self._key, self._channel = settings.key, settings.channel()
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._over = threading.Event()
        self._heard = 0.0
        self._silent = 0  # looks in a row
        self._calls = 0  # that are not over
        self._counting, self._telling = threading.Lock(), threading.Lock()

    def wait(self, tell: Callable[[str], object]) -> None:
        """Until its model answers: how long that may take is for the launcher to say. tell: called
        with the reason why it does not yet, whenever that changes. Raises EnvironmentProblem where
        it does not take the key, and once the launcher has gone: Triton ends no sooner than the
        model that it loads is there."""
        told = ""
        with step("LLM server"):
            while why := self._absence()[0] or self._model_away():
                if why != told:
                    tell(why)
                told = why
                if not is_heard():
                    raise EnvironmentProblem(f"nobody waits for the server at {self.address} now")
                time.sleep(LOOK_S)

    def watch(self, lost: Callable[[str], object]) -> None:
        """Call `lost` once, in a thread, when it is away, with the reason: at once where it says
        so or the connection ends, less than 1.5 s after it fell silent to a call, and less than 4 s
        after its model's process did."""

        def look(away: Callable[[], str]) -> None:
            while not self._over.wait(LOOK_S):
                try:
                    why = away()
                except ValueError:  # closed meanwhile
                    return
                if why and not self._over.is_set() and self._telling.acquire(blocking=False):
                    lost(why)

        for away in (self._server_away, self._model_away_from_callers):
            threading.Thread(target=look, args=[away], name="remote server", daemon=True).start()

    def _server_away(self) -> str:
        """Why it is lost; empty too for a silence that may be work, while nobody waits for it."""
        why, silence = self._absence()
        self._silent = self._silent + 1 if silence else 0
        return "" if 0 < self._silent < _IDLE_LOOKS and not self._calls else why

    def _model_away_from_callers(self) -> str:
        """Triton calls a model ready whose process has died, and tells those who wait for it
        nothing. So where they hear nothing that process is asked."""
        if not self._calls or self._heard > time.monotonic() - LOOK_S:
            return ""
        try:
            return self._model_away()
        except EnvironmentProblem as error:  # its key is another now
            return str(error)

    def _model_away(self) -> str:
        """Why its model does not stop a generation that nobody began; empty if it does. Raises
        EnvironmentProblem where it does not take the key."""
        try:
            return self.stop(secrets.token_hex(8))
        except grpc.RpcError as error:
            return words(error)

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
    ) -> Generator[messages.ModelStreamInferResponse, None, None]:
        """Its answers to the request, as they come. Read them to their end: a server of Triton 2.51
        may crash where a call is cancelled. seconds: that they may take, if not the deadline.

        Raises grpc.RpcError, of which `is_loss` says whether it is only the request's.
        """
        if self._key:
            request.parameters[INNER_PARAMETER].string_param = self._key
        request.parameters["triton_enable_empty_final_response"].bool_param = True
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
        for answer in self.call(asked, MODEL_S):
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
    name: str,
    tensors: Mapping[str, NDArray[Any]],
    outputs: Iterable[str],
    parameters: Mapping[str, Any] = NO_PARAMETERS,
) -> messages.ModelInferRequest:
    """A request to the model. name: its id. tensors: of numbers, with their leading dimension."""
    asked = messages.ModelInferRequest(model_name=LANGUAGE_MODEL, id=name)
    for key, value in parameters.items():
        setattr(asked.parameters[key], _FIELDS[type(value)], value)
    for key, values in tensors.items():
        named = asked.inputs.add(name=key, datatype=np_to_triton_dtype(values.dtype))
        named.shape.extend(values.shape)
        asked.raw_input_contents.append(np.ascontiguousarray(values).tobytes())
    for output in outputs:
        asked.outputs.add(name=output)
    return asked


def is_last(answer: messages.ModelStreamInferResponse) -> bool:
    """Whether it says that none follows."""
    return bool(answer.infer_response.parameters["triton_final_response"].bool_param)


def is_loss(error: grpc.RpcError) -> bool:
    """Whether the server was lost, and not only this request was refused."""
    return error.code() not in _OF_ONE


def words(error: grpc.RpcError) -> str:
    """What an error of a call says."""
    return f"{error.code().name}: {error.details()}"

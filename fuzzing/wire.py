"""Requests of all shapes and none, over gRPC and HTTP, to every model of a running server.

What is sent is built by hand, as clients of this project would refuse to.
"""

import errno
import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from fuzzing.campaign import Verdict
from tritone.triton_models import INNER_PARAMETER

HANG_S = 60.0  # only what hangs takes so long
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
# What a message has that tells a caller nothing: the trouble of a library, not of the request.
UNCLEAR = (
    *("Traceback", "INTERNAL", "StageFailed", "KeyError", "TypeError", "AttributeError"),
    *("IndexError", "UnicodeDecodeError", "AssertionError", "broadcast", "reshape", "std::"),
    *("Failed to process the request", "Socket closed", "recvmsg", "unbound"),
)
OF_CALLER = ("INVALID_ARGUMENT", "InvalidRequest", "NothingToSay")  # these name an input


@dataclass(frozen=True)
class Tensor:
    """One input as it is written into a request, right or wrong."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: bytes

    def __repr__(self) -> str:
        return (
            f"{self.name} {self.datatype} {self.shape} {len(self.contents)}B {self.contents[:24]!r}"
        )


@dataclass(frozen=True)
class Request:
    """parameters: of the request, sequence flags among them. outputs: by name; none for all."""

    model: str
    inputs: tuple[Tensor, ...]
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def message(self) -> Any:
        message = service_pb2.ModelInferRequest(model_name=self.model, id=self.id)
        for tensor in self.inputs:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            message.raw_input_contents.append(tensor.contents)
        for output in self.outputs:
            message.outputs.add(name=output)
        for name, value in self.parameters.items():
            kind = {bool: "bool_param", int: "int64_param", str: "string_param"}.get(type(value))
            setattr(message.parameters[name], kind or "double_param", value)
        return message


def text(*values: bytes) -> bytes:
    """Strings as Triton takes them."""
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def judged(message: str, fields: frozenset[str]) -> Verdict:
    """What an error comes to. fields: the inputs of the model, one of which it is to name."""
    if unclear := next((word for word in UNCLEAR if word in message), None):
        return Verdict("fault", f"{unclear}: {message}")
    kind, _, rest = message.partition(": ")
    named = rest.removeprefix("NOTHING_TO_SAY: ").partition(":")[0]
    if kind in OF_CALLER and named not in fields:
        return Verdict("fault", f"names no input: {message}")
    return Verdict("refused", message) if message else Verdict("fault", "an error without a word")


def worst(came: Sequence[Verdict]) -> Verdict:
    """Of what answers came to; none is a fault."""
    severity = ("accepted", "refused", "fault")
    none = Verdict("fault", "the stream ended without an answer")
    return max(came, key=lambda verdict: severity.index(verdict.kind), default=none)


class Server:
    """A running server, as an enemy sees it. grpc: host:port. http: http://host:port. key: what its
    own models bring to the inner ones, so that more than the refusal of strangers is tried."""

    def __init__(self, grpc_url: str, http_url: str, key: str = "") -> None:
        self.http, self._grpc, self._key = http_url, grpc_url, key
        self._channel = grpc.insecure_channel(grpc_url, options=OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def fields(self, model: str) -> frozenset[str]:
        """The inputs of a model, those of its sequence among them, and the request's own id."""
        config = self._stub.ModelConfig(service_pb2.ModelConfigRequest(name=model)).config
        controls = [control.name for control in config.sequence_batching.control_input]
        return frozenset(["id", *(entry.name for entry in config.input), *controls])

    def _message(self, request: Request) -> Any:
        message = request.message()
        if self._key:
            message.parameters[INNER_PARAMETER].string_param = self._key
        return message

    def output(self, request: Request, name: str) -> bytes:
        """The contents of one output of a request that is served."""
        answer = self._stub.ModelInfer(self._message(request), timeout=HANG_S)
        names = [output.name for output in answer.outputs]
        return bytes(answer.raw_output_contents[names.index(name)])

    def infer(self, request: Request, fields: frozenset[str]) -> Verdict:
        """To a model that answers once."""
        try:
            self._stub.ModelInfer(self._message(request), timeout=HANG_S)
        except grpc.RpcError as error:
            return _of_rpc(error, fields)
        except ValueError as error:  # a client cannot even write it
            return Verdict("refused", str(error))
        return Verdict("accepted")

    def talk(self, requests: Sequence[Request], fields: frozenset[str]) -> Verdict:
        """To models that answer often, all over one stream: the worst that came of them. Hangs up
        after the first answer with something in it."""
        messages = [self._message(request) for request in requests]
        for message in messages:
            message.parameters["triton_enable_empty_final_response"].bool_param = True
        call = self._stub.ModelStreamInfer(iter(messages), timeout=HANG_S)
        came = list[Verdict]()
        try:
            for answer in call:
                if answer.error_message:  # Triton 2.51 keeps what is cancelled just as it ends
                    came.append(judged(answer.error_message, fields))
                    continue
                came.append(Verdict("accepted"))
                if answer.infer_response.outputs:
                    break
        except grpc.RpcError as error:
            return _of_rpc(error, fields)
        finally:
            call.cancel()
        return worst(came)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Verdict:
        """To the HTTP port, by the book but for what is said."""
        asked = urllib.request.Request(self.http + path, body, headers, method="POST")
        try:
            with urllib.request.urlopen(asked, timeout=HANG_S) as answer:
                answer.read(1 << 20)
        except urllib.error.HTTPError as error:
            return judged(error.read(1 << 16).decode(errors="replace") or error.reason, frozenset())
        except (ValueError, OSError) as error:
            refused = isinstance(error, ValueError | ConnectionError)
            return Verdict("refused" if refused else "fault", f"{type(error).__name__}: {error}")
        return Verdict("accepted")

    def throw(self, port: str, pieces: list[bytes], wait: bool) -> Verdict:
        """Bytes at a port; nothing is expected of it but to live."""
        host, _, number = (self._grpc if port == "grpc" else self.http.split("//")[1]).rpartition(
            ":"
        )
        try:
            with socket.create_connection((host, int(number)), timeout=HANG_S) as thrown:
                for piece in pieces:
                    thrown.sendall(piece)
                if wait:
                    thrown.shutdown(socket.SHUT_WR)
                    thrown.recv(4096)
        except OSError as error:
            if isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN:
                return Verdict("refused", "hung up")
            return Verdict("fault", f"{type(error).__name__}: {error}")
        return Verdict("accepted")


def _of_rpc(error: Any, fields: frozenset[str]) -> Verdict:
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Verdict("fault", f"no answer within {HANG_S:g} s")
    if error.code() == grpc.StatusCode.UNAVAILABLE and "failed to connect" in error.details():
        return Verdict("fault", f"the server is gone: {error.details()}")
    return judged(error.details() or "", fields)


def array(name: str, datatype: str, values: Any, dtype: Any) -> Tensor:
    """An input as it should be."""
    numbers = np.asarray(values, dtype)
    return Tensor(name, datatype, numbers.shape, numbers.tobytes())

"""Reading what the server answers; no I/O, so that both clients share it."""

import json
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from tritone_client.tls import Tls, explained

_RATE = "sample_rate"
_EMOTIONS = "emotions"
_UNEXPECTED = re.compile(r"unexpected inference input '([^']+)' for model '([^']+)'")
_REASON = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
_UNLOADED = re.compile(r"unknown model: '([^']+)' has no available versions")
_RETRY_AFTER = re.compile(r"retry after ([0-9.]+) s")
_RESET = "RST_STREAM"  # gRPC's word for a stream that a proxy ended, as its server went away
_LOST = ("its process ended; say it again", " is not healthy")  # of a stage that was lost


class SpeechError(Exception):
    """The utterance did not end well.

    status: gRPC status name, such as UNAVAILABLE (no server, or it went away) or
        DEADLINE_EXCEEDED, INVALID_ARGUMENT (the message names the input at fault), CANCELLED,
        INTERNAL. UNKNOWN when an error came without a status.
    message: what went wrong, in the server's words.
    reason: a stable word for what programs may want to tell apart, such as NOTHING_TO_SAY for a
        text without anything to speak; mostly empty.
    """

    def __init__(self, status: str, message: str, reason: str = "") -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.reason = reason

    @property
    def passes(self) -> bool:
        """Whether the same request may work later, or elsewhere: no server, one that refuses for
        now, or that lost a process."""
        if self.status == grpc.StatusCode.INTERNAL.name:
            return any(words in self.message for words in _LOST)
        return bool(self.status == grpc.StatusCode.UNAVAILABLE.name)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to be asked again, if it said so."""
        found = _RETRY_AFTER.search(self.message)
        return float(found[1]) if found else None


def from_stream(message: str) -> SpeechError:
    """The SpeechError of an error inside a stream.

    Triton's streams carry a message but no code (and asking for one, with the metadata
    `triton_grpc_error`, can crash Triton 2.51), so the model puts the status in front.
    """
    status, separator, text = message.partition(": ")
    if separator and status in grpc.StatusCode.__members__:
        reason, known, rest = text.partition(": ")
        if known and _REASON.fullmatch(reason):
            return SpeechError(status, rest, reason)
        return SpeechError(status, text)
    if unknown := _UNEXPECTED.search(message):  # Triton itself knows the inputs of a model
        said = f"{unknown[1]}: is no input of {unknown[2]}; leave it out, or ask another model"
        return SpeechError(grpc.StatusCode.INVALID_ARGUMENT.name, said)
    if unloaded := _UNLOADED.search(message):  # it ends, or loads the model anew
        said = f"{unloaded[1]} is not loaded now; retry in a few seconds"
        return SpeechError(grpc.StatusCode.UNAVAILABLE.name, said)
    return SpeechError(grpc.StatusCode.UNKNOWN.name, message)


def connection_lost(details: str) -> SpeechError | None:
    """The SpeechError of a stream that was broken off, which gRPC may call cancelled; None for one
    that ended otherwise."""
    if _RESET not in details:
        return None
    return SpeechError(grpc.StatusCode.UNAVAILABLE.name, f"the connection was lost: {details}")


@contextmanager
def from_grpc(tls: Tls | None) -> Iterator[None]:
    """gRPC's errors as a SpeechError that says what they mean; tls: of the connection."""
    try:
        yield
    except grpc.RpcError as error:
        details = explained(error.details() or "no details given", tls)
        if reset := connection_lost(details):
            raise reset from error
        raise SpeechError(error.code().name, details) from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """A question about a model that the server has let go since it was listed goes unanswered."""
    try:
        yield
    except SpeechError as error:
        if error.status != grpc.StatusCode.NOT_FOUND.name:
            raise


@dataclass(frozen=True)
class Packet:
    """One response: (n,) samples in [-1, 1], and the timing record if asked for."""

    samples: NDArray[np.float32]
    timing: dict[str, Any] | None = None


@dataclass(frozen=True)
class Cancellation:
    """What had been sent of a cancelled text. samples: that have left. text_end: up to here, in
    characters, it was said whole. under_way: where in the text and from which sample on another
    segment was being said, None for none."""

    samples: int
    text_end: int
    under_way: tuple[int, int] | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Cancellation":
        sent = record["sent"]
        under_way = sent.get("under_way")
        place = under_way and (under_way["text"], under_way["sample"])
        return cls(sent["samples"], sent["text"][1], place)


class ResponseReader:
    """Turns the messages of one utterance into packets and knows whether all of it arrived."""

    def __init__(self) -> None:
        self._complete = False
        self._error: SpeechError | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes: after the final message, and after an error, as those of
        Triton itself are not marked as final."""
        return self._complete or self._error is not None

    def feed(self, message: service_pb2.ModelStreamInferResponse) -> Packet | None:
        """The packet in this message; None for one without outputs, such as the empty final one.

        An error is raised by `end`, as a stream must be read to its end: Triton 2.51 never frees a
        request that is cancelled just while it completes.
        """
        response = message.infer_response
        self._complete = response.parameters["triton_final_response"].bool_param
        if message.error_message:
            self._error = from_stream(message.error_message)
            return None
        outputs = {
            output.name: contents
            for output, contents in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        if not outputs:
            return None
        timing = outputs.get("timing")  # one string, behind its length in 4 bytes
        return Packet(
            samples=np.frombuffer(outputs.get("waveform", b""), dtype="<f4"),
            timing=None if timing is None else json.loads(timing[4:]),
        )

    def end(self) -> None:
        """Call it when the stream has ended; raises SpeechError if that was not the good end."""
        if self._error is not None:
            raise self._error
        if not self._complete:
            raise SpeechError(
                "UNAVAILABLE", "the stream ended before the server said it was complete"
            )


class VoicesReader:
    """Turns the messages that answer `voices_request` into the ids of the voices."""

    def __init__(self) -> None:
        self._reader = ResponseReader()
        self._ids: list[str] = []

    def feed(self, message: service_pb2.ModelStreamInferResponse) -> None:
        self._reader.feed(message)
        for contents in message.infer_response.raw_output_contents:
            self._ids += strings(contents)

    def end(self) -> list[str]:
        """The ids as the server orders them: the model's own first. Raises SpeechError."""
        self._reader.end()
        return self._ids


def strings(contents: bytes) -> Iterator[str]:
    """Those of a BYTES tensor: each stands behind its length, 4 bytes, little-endian."""
    at = 0
    while at < len(contents):
        (size,) = struct.unpack_from("<I", contents, at)
        yield contents[at + 4 : at + 4 + size].decode()
        at += 4 + size


def ready(answer: service_pb2.ModelStatisticsResponse) -> list[str]:
    """Names of the models that a server has ready, from its statistics of all models."""
    return sorted({statistics.name for statistics in answer.model_stats})


def public_model(url: str, answers: Sequence[service_pb2.ModelConfigResponse]) -> str:
    """The one whose configuration names a sample rate. Raises SpeechError for none or several."""
    names: list[str] = [answer.config.name for answer in answers]
    speaking = [a.config.name for a in answers if _RATE in a.config.parameters]
    if len(speaking) == 1:
        return str(speaking[0])
    advice = "name the one that is meant: model= of the client, --model of the commands"
    if speaking:
        there = f"{url} has several models that speak: {', '.join(speaking)}"
        raise SpeechError("FAILED_PRECONDITION", f"{there}; {advice}")
    there = f"no model of {url} speaks; ready: {', '.join(names) or 'none'}"
    raise SpeechError("UNAVAILABLE", f"{there}; {advice}")


def rate_of(model: str, answer: service_pb2.ModelConfigResponse) -> int:
    """Samples a second, as the configuration says. Raises SpeechError where it says no number."""
    text = answer.config.parameters[_RATE].string_value
    if not text.isdecimal() or int(text) == 0:
        said = f"{_RATE} {text!r}" if text else f"no {_RATE}"
        raise SpeechError(
            "FAILED_PRECONDITION",
            f"{model} has {said} among the parameters of its config.pbtxt; add the rate there: "
            f'parameters {{ key: "{_RATE}", value: {{ string_value: "HERTZ" }} }}',
        )
    return int(text)


def emotions_of(answer: service_pb2.ModelConfigResponse) -> tuple[str, ...]:
    """Names of the model's emotions, in the order of their shares; none of one without."""
    names = answer.config.parameters[_EMOTIONS].string_value.split(",")
    return tuple(name.strip() for name in names if name.strip())

"""The one error of the client, and the one place where gRPC's errors become it."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc


class SpeechError(Exception):
    """The utterance did not end well.

    status: gRPC status name, such as UNAVAILABLE (no server, or it went away) or
        DEADLINE_EXCEEDED, INVALID_ARGUMENT (the message names the input at fault), CANCELLED,
        INTERNAL. UNKNOWN when an error came without a status.
    message: what went wrong, in the server's words.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def from_stream(message: str) -> SpeechError:
    """The SpeechError of an error inside a stream.

    Triton's streams carry a message but no code (and asking for one, with the metadata
    `triton_grpc_error`, can crash Triton 2.51), so the model puts the status in front.
    """
    status, separator, text = message.partition(": ")
    if separator and status in grpc.StatusCode.__members__:
        return SpeechError(status, text)
    return SpeechError(grpc.StatusCode.UNKNOWN.name, message)


@contextmanager
def from_grpc() -> Iterator[None]:
    """gRPC's errors as a SpeechError that says what they say."""
    try:
        yield
    except grpc.RpcError as error:
        raise SpeechError(error.code().name, error.details() or "no details given") from error

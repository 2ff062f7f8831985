"""The one error of the client, and the one place where gRPC's errors become it."""

import grpc


class SpeechError(Exception):
    """The utterance did not end well.

    status: gRPC status name, such as UNAVAILABLE (no server, or it went away) or
        DEADLINE_EXCEEDED, INVALID_ARGUMENT (the message names the input at fault), CANCELLED.
        UNKNOWN from a server that is too old to send the status of a model's error.
    message: what went wrong, in the server's words.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def from_grpc(error: grpc.RpcError) -> SpeechError:
    """The SpeechError that says what this gRPC error says."""
    return SpeechError(error.code().name, error.details() or "no details given")

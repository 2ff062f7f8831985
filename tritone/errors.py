"""The errors that Tritone raises: all that a caller may want to tell apart, below one base.

Foreign exceptions are turned into these at the edge where they occur; Tritone errors are turned
into Triton error codes in one place, `tritone.serving`.
"""


class TritoneError(Exception):
    """Base of every error that Tritone raises on purpose."""


class InvalidRequest(TritoneError):
    """The caller's mistake: names the field, the value and the limit.

    field: the wire name of the input at fault.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class NothingToSay(InvalidRequest):
    """A text without anything that the voice can speak; a kind of its own, so that programs can
    tell it from a fault."""


class UnknownVoice(InvalidRequest):
    """The voice registry has no voice of that id. The models answer with a plain InvalidRequest."""


class VoiceExists(InvalidRequest):
    """Another voice has that id already, in the registry or in the model directory."""


class VoiceRegistryError(TritoneError):
    """The voice registry cannot be read or written, or one of its voices is damaged.

    The message names the file and what to do.
    """


class Overloaded(TritoneError):
    """A limit of the deployment (streams, queue) is reached; the same request may work later."""


class StageFailed(TritoneError):
    """One stage broke on a valid request; the message starts with the stage's name."""

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"{stage}: {problem}")
        self.stage = stage


class Cancelled(TritoneError):
    """The caller went away, cancelled, or ran out of time."""

    def __init__(self, message: str = "the caller no longer wants the audio") -> None:
        super().__init__(message)


class ModelDirectoryError(TritoneError):
    """A checkpoint or model directory is incomplete, damaged or of another shape.

    The message names the file and what to do.
    """


class EnvironmentProblem(TritoneError):
    """The machine or the installation lacks something; the message names the next step."""


class StartCrashed(EnvironmentProblem):
    """The Triton server crashed while it started, without a word on what it lacks."""

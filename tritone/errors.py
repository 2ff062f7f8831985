"""The errors that Tritone raises, one small tree.

TritoneError
    InvalidRequest        the caller's mistake: names the field, the value and the limit
    Overloaded            a limit of the deployment is reached; the same request may work later
    StageFailed           one stage broke; the message starts with the stage's name
    Cancelled             the caller went away, cancelled, or ran out of time
    ModelDirectoryError   a checkpoint or model directory is incomplete, damaged or of another shape
    EnvironmentProblem    the machine or the installation lacks something, found at start-up

Foreign exceptions are turned into these at the edge where they occur; Tritone errors are turned
into Triton error codes in one place, `tritone.serving`.
"""


class TritoneError(Exception):
    """Base of every error that Tritone raises on purpose."""


class InvalidRequest(TritoneError):
    """The request cannot be served as it is. field: the wire name of the input at fault."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class Overloaded(TritoneError):
    """A deployment limit (streams, queue) is reached; retry later."""


class StageFailed(TritoneError):
    """A stage failed on a valid request."""

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"{stage}: {problem}")
        self.stage = stage


class Cancelled(TritoneError):
    """The caller no longer wants the result."""


class ModelDirectoryError(TritoneError):
    """A checkpoint or model directory cannot be used; the message names the file and what to do."""


class EnvironmentProblem(TritoneError):
    """The installation cannot run; the message names the cause and the next step."""

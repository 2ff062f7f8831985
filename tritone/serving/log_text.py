"""What of an error goes into the log: nothing that a client wrote, unless the operator wants it.

Clients always get the whole message.
"""

import os
import traceback

from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.triton_models import FLOW, LANGUAGE_MODEL, VOCODER
from tritone.variables import LOG_TEXT_VARIABLE

LOGS_TEXT = os.environ.get(LOG_TEXT_VARIABLE) == "1"
LEFT_OUT = "(may quote the text; --log-text logs it)"

_SEE_NO_TEXT = (LANGUAGE_MODEL, FLOW, VOCODER)  # but numbers alone


def loggable(error: Exception) -> str:
    """The error's type and, where it cannot quote a text, its message."""
    kind = type(error).__name__
    if not _may_quote(error):
        return f"{kind}: {error}"
    where = error.field if isinstance(error, InvalidRequest) else ""
    where = error.stage if isinstance(error, StageFailed) else where
    return f"{kind}: {where}: {LEFT_OUT}" if where else f"{kind}: {LEFT_OUT}"


def loggable_stack(error: Exception, stage: str) -> str:
    """Of an exception that nobody expected, in this stage: its stack, and what `loggable` gives."""
    if not _may_quote(StageFailed(stage, "")):
        return "".join(traceback.format_exception(error))
    return "".join([*traceback.format_tb(error.__traceback__), loggable(error)])


def _may_quote(error: Exception) -> bool:
    """Foreign exceptions may quote what they were given; of ours, those about a text, and those
    that carry the message of a foreign one."""
    if LOGS_TEXT:
        return False
    if isinstance(error, InvalidRequest):
        return error.field.endswith("text")
    if isinstance(error, StageFailed):
        return error.stage not in _SEE_NO_TEXT
    return not isinstance(error, TritoneError)

"""A word in registered voices before the first caller.

The first use of a voice computes its prompt, and the first use of a model brings its weights into
memory: for the full size on a CPU seconds, which the first callers would wait for.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tritone.config import Envelope
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.frontend.voices import VoiceStore

_LOG = logging.getLogger(__name__)

MOST_VOICES = 4  # the flow keeps only the most recently used ones (`prepared_voices_mb`)
_TEXT = "Hello."

Speak = Callable[[str, str], object]
"""Has the server say a text in a voice. Raises TritoneError where that failed; EnvironmentProblem
where the server does not answer."""


def voices_to_warm(model_dir: Path) -> list[str]:
    """Some registered voices of a model directory, the default one last: it is kept longest."""
    try:
        default, names = Envelope.read(model_dir).default_voice, VoiceStore(model_dir).names()
    except TritoneError:
        return []  # the models said what is wrong with it, or need none
    others = [name for name in names if name != default]
    kept = [name for name in names if name == default]
    return [*others[: MOST_VOICES - len(kept)], *kept]


def warm_up(speak: Speak, voices: Sequence[str]) -> tuple[list[str], float]:
    """Have a ready server say a word in each voice; the voices that could, and the seconds.

    What fails is logged as a warning: a server without one voice is of use still. One that does not
    answer is asked no more.
    """
    began, warm = time.monotonic(), []
    for voice in voices:
        try:
            speak(_TEXT, voice)
        except TritoneError as error:
            _LOG.warning("a word in the voice %s failed: %s", voice, error)
            if isinstance(error, EnvironmentProblem):
                break
        else:
            warm.append(voice)
    return warm, time.monotonic() - began

"""A word in registered voices before the first caller.

The first use of a voice computes its prompt, and the first use of a model brings its weights into
memory: for the full size on a CPU seconds, which the first callers would wait for.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from tritone.errors import TritoneError
from tritone.families import read_config
from tritone.frontend.voices import VoiceStore

_LOG = logging.getLogger(__name__)

MOST_VOICES = 4
"""The flow keeps only the most recently used voices prepared (`prepared_voices_mb`)."""

_TEXT = "Hello."
_TIMEOUT_S = 60.0
_SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def voices_to_warm(model_dir: Path) -> list[str]:
    """Some registered voices of a model directory, the default one last: it is kept longest."""
    try:
        default, names = read_config(model_dir).default_voice, VoiceStore(model_dir).names()
    except TritoneError:
        return []  # the models said what is wrong with it, or need none
    others = [name for name in names if name != default]
    kept = [name for name in names if name == default]
    return [*others[: MOST_VOICES - len(kept)], *kept]


def warm_up(grpc_url: str, voices: Sequence[str]) -> tuple[list[str], float]:
    """Speak a word in each voice through a ready server; the voices that could, and the seconds.

    What fails is logged as a warning: a server without one voice is of use still. One that does not
    answer is asked no more.
    """
    try:
        from client import SpeechClient, SpeechError, Utterance
    except ImportError as error:
        _LOG.warning("no client to warm the server up with (%s): the first use is slower", error)
        return [], 0.0
    began, warm = time.monotonic(), []
    with SpeechClient(grpc_url) as client:
        for voice in voices:
            try:
                client.speak(Utterance(_TEXT, voice=voice, seed=1), timeout=_TIMEOUT_S)
            except SpeechError as error:
                _LOG.warning("a word in the voice %s failed: %s", voice, error)
                if error.status in _SILENT:
                    break
            else:
                warm.append(voice)
    return warm, time.monotonic() - began

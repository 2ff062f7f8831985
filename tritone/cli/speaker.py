"""Speaking through a server that a command has started."""

from collections.abc import Iterator
from contextlib import contextmanager

from tritone.errors import EnvironmentProblem, StageFailed
from tritone.launcher.warm_up import Speak
from tritone_client import SpeechClient, SpeechError, Utterance

_TIMEOUT_S = 60.0
_SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


@contextmanager
def speaker(grpc_url: str) -> Iterator[Speak]:
    """What `warm_up` speaks with; the sound is dropped."""
    with SpeechClient(grpc_url) as client:

        def speak(text: str, voice: str) -> None:
            try:
                client.speak(Utterance(text, voice=voice, seed=1), timeout=_TIMEOUT_S)
            except SpeechError as error:
                if error.status in _SILENT:
                    raise EnvironmentProblem(str(error)) from error
                raise StageFailed(client.model, str(error)) from error

        yield speak

"""Which voice of a server a request's name stands for."""

from collections.abc import Iterable, Mapping

from tritone.errors import EnvironmentProblem
from tritone.frontend.voices import VOICE_ID
from tritone.gateway.backends import Backend

_FIRST = ("alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
OPENAI_VOICES = frozenset((*_FIRST, "verse", "marin", "cedar"))
"""OpenAI's own, which programs have built in."""


async def resolved(backend: Backend, name: str | None, aliases: Mapping[str, str]) -> str | None:
    """What the server is to be asked for. An alias stands before a voice of that name; a name of
    OpenAI's that is neither stands for the model's first voice. Any other is left to the server,
    which says what it has. Raises SpeechError."""
    if name is None or name in aliases:
        return aliases.get(name or "")
    if name not in OPENAI_VOICES:
        return name
    there = await backend.recent_voices()
    return name if name in there or not there else there[0]


def aliases(texts: Iterable[str]) -> dict[str, str]:
    """Read each NAME=VOICE. Raises EnvironmentProblem."""
    return dict(map(_alias, texts))


def _alias(text: str) -> tuple[str, str]:
    name, _, voice = text.partition("=")
    if not (VOICE_ID.fullmatch(name) and VOICE_ID.fullmatch(voice)):
        raise EnvironmentProblem(
            f"--voice-alias {text}: NAME=VOICE is needed, both of 1 to 64 of A-Z a-z 0-9 _ . -, "
            "such as alloy=heart"
        )
    return name, voice

"""What a request's name of a voice stands for."""

import asyncio

import pytest

from tritone.errors import EnvironmentProblem
from tritone.gateway.backends import Backend
from tritone.gateway.settings import Address
from tritone.gateway.voice_names import OPENAI_VOICES, aliases, resolved
from tritone.gateway.voices import id_of
from tritone_client import SpeechError


class Server(Backend):
    """One that has these voices; None: it is not there."""

    def __init__(self, *voices: str, there: bool = True) -> None:
        super().__init__(Address("127.0.0.1:1"), None)
        self.had, self.there, self.asked = voices, there, 0

        async def ask() -> list[str]:
            self.asked += 1
            if not self.there:
                raise SpeechError("UNAVAILABLE", "nobody")
            return list(self.had)

        self.client.voices = ask  # type: ignore[method-assign]


def names(*asked: str | None, voices: tuple[str, ...], **aliases: str) -> list[str | None]:
    async def ask() -> list[str | None]:
        server = Server(*voices)
        return [await resolved(server, name, aliases) for name in asked]

    return asyncio.run(ask())


def test_openai_s_names_stand_for_the_first_voice() -> None:
    assert len(OPENAI_VOICES) == 13
    assert names(*OPENAI_VOICES, voices=("zoe", "ann")) == ["zoe"] * 13
    assert names("joe", "x", None, voices=("zoe",)) == ["joe", "x", None]


def test_a_registered_voice_and_an_alias_come_before() -> None:
    assert names("alloy", "nova", voices=("zoe", "alloy")) == ["alloy", "zoe"]
    told = names("alloy", "nova", "me", voices=("zoe", "alloy"), alloy="joe", me="ann")
    assert told == ["joe", "zoe", "ann"]


def test_a_server_without_voices_answers_itself() -> None:
    assert names("alloy", voices=()) == ["alloy"]


def test_it_is_not_asked_each_time_and_the_first_error_is_told() -> None:
    async def ask() -> None:
        server = Server("zoe")
        for _ in range(3):
            assert await resolved(server, "alloy", {}) == "zoe"
        assert server.asked == 1
        server.had = ("zoe", "alloy")
        await server.voices()  # somebody else asked, as when a voice was added
        assert await resolved(server, "alloy", {}) == "alloy"
        with pytest.raises(SpeechError):
            await resolved(Server(there=False), "alloy", {})

    asyncio.run(ask())


@pytest.mark.parametrize("text", ["alloy", "=heart", "alloy=", "a b=c", "a=b=c", "ä=b"])
def test_what_is_no_alias(text: str) -> None:
    with pytest.raises(EnvironmentProblem, match="NAME=VOICE is needed"):
        aliases(["nova=joe", text])
    assert aliases(["alloy=heart", "nova=joe"]) == {"alloy": "heart", "nova": "joe"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ann", "ann"),
        ("Ann_2.b", "Ann_2.b"),
        ("Zoë's voice!", "zoe-s-voice"),
        ("../../etc/passwd", "etc-passwd"),
        ("x " * 100, ("x-" * 32)),
        ("安娜", "voice-"),
        ("..", "voice-"),
    ],
)
def test_an_id_is_made_of_a_name(name: str, expected: str) -> None:
    from tritone.frontend.voices import VOICE_ID

    made = id_of(name)
    assert VOICE_ID.fullmatch(made) and made == id_of(name)
    assert made == expected or (expected == "voice-" and made.startswith(expected))

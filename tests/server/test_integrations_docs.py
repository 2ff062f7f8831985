"""The agent's loop that docs/integrations.md shows speaks, and stops when it is told to."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
from paths import PROJECT
from serving import RATE, is_speech
from waiting import wait_until

from tritone.arrays import Float32
from tritone.launcher import TritonServer

pytestmark = pytest.mark.server

ADDRESS = "127.0.0.1:8001"
ANSWER = ["The kettle ", "sang. ", "Rain came", " down."]

Speak = Callable[[Iterable[str], Callable[[Float32], object], Callable[[], bool]], None]


@pytest.fixture
def speak(server: TritonServer) -> Speak:
    page = (PROJECT / "docs" / "integrations.md").read_text(encoding="utf-8")
    example = next(re.finditer(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))[1]
    assert ADDRESS in example
    values: dict[str, Speak] = {}
    exec(compile(example.replace(ADDRESS, server.urls.grpc), "integrations.md", "exec"), values)
    return values["speak"]


def test_an_answer_is_spoken_as_it_comes(speak: Speak) -> None:
    played: list[Float32] = []
    speak(iter(ANSWER), played.append, lambda: False)
    assert is_speech(np.concatenate(played))


def test_an_interruption_stops_it(speak: Speak) -> None:
    played: list[Float32] = []

    left = threading.Event()

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "The kettle sang while the rain came down. "
        finally:
            left.set()

    speak(endless(), played.append, lambda: len(played) == 2)
    assert len(played) == 2 and sum(map(len, played)) < 30 * RATE
    wait_until(left.is_set)  # nobody reads the answer any more

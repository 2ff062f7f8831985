"""Two real servers, of which one stands by."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from supervised import SEEDED, Supervised, ends, spoken_again
from waiting import HANG_S, wait_until

from tritone_client import SpeechClient

pytestmark = pytest.mark.server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def pair(folder: Path) -> Iterator[Supervised]:
    running = Supervised(folder, "--standby")
    running.wait_for("another server stands by")
    yield running
    assert running.stop() == 0


def spoken_by(folder: Path, number: int) -> int:
    """Streams that this server has ended well, by its log."""
    (log,) = (folder / "logs").glob(f"triton-*-{number}.log")
    return log.read_text().count('"outcome": "ok"')


def test_the_other_one_serves_what_the_first_one_cannot(pair: Supervised, folder: Path) -> None:
    with SpeechClient(pair.url) as client:
        before = client.speak(SEEDED, timeout=HANG_S)
        wait_until(lambda: spoken_by(folder, 1) == 1)
        assert spoken_by(folder, 2) == 0
        for problem in ends(client, lambda: pair.kill("vocoder", server=0)):
            # its connection is closed a second later: a slow machine sees that first
            assert "vocoder: its process ended" in problem or problem.startswith("UNAVAILABLE")
    assert np.array_equal(spoken_again(pair), before)
    wait_until(lambda: spoken_by(folder, 2) == 1)
    pair.wait_for("vocoder serves again")

    with SpeechClient(pair.url) as client:
        for problem in ends(client, lambda: pair.kill("cosyvoice2", server=1)):
            assert problem.startswith("UNAVAILABLE")
    assert np.array_equal(spoken_again(pair), before)
    wait_until(lambda: spoken_by(folder, 1) == 2)
    assert urllib.request.urlopen(pair.health, timeout=HANG_S).status == 200
    pair.wait_for("another server stands by", 2)
    assert pair.count("ready after ") == 1, "nobody had to wait for a start"

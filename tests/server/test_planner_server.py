"""From a running server to a plan: what is measured of it, and how many of it are needed."""

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("simpy")

from benchmarks import capacity, planner_check
from tritone import cli
from tritone.launcher import TritonServer

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (capacity, planner_check):
        monkeypatch.setattr(module, "FEWEST", 3)
    monkeypatch.setattr(capacity, "EACH", 2)


def test_a_server_is_measured_and_planned(
    server: TritonServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, url = tmp_path / "this.json", server.urls.grpc
    words = ["--url", url, "--kind", "this", "--streams", "1,2", "--json", str(file)]
    assert capacity.main(words) == 0
    measured = json.loads(file.read_text())
    assert [len(level["audio_s"]) for level in measured["levels"]] == [3, 4]
    assert measured["cpu_s_per_audio_s"] > 0
    capsys.readouterr()
    asked = ["--streams", "3", "--first-packet", "10min", "--reserve", "0", "--speeches", "100"]
    assert cli.main(["plan", "--bench", str(file), *asked, "--dry", "0.99", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)
    assert (plan["kind"], plan["kept"]) == ("this", True)


def test_a_prediction_is_compared(server: TritonServer) -> None:
    measured, (found,) = asyncio.run(planner_check.compare(server.urls.grpc, [1, 2], [1.0], 6))
    assert measured.model and found.measured > 0 and found.predicted > 0

"""The benchmark against a real Triton server, with a model that needs no checkpoint."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import PROJECT
from serving import RATE
from toy_server import HELD, PACKET, Toy, toy_settings
from waiting import HANG_S

from tritone.launcher import TritonServer
from tritone_client.bench import main

pytestmark = pytest.mark.server

FAST = ["--requests", "4", "--warmup", "0"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    cache = tmp_path_factory.mktemp("cache")
    notes = cache / "events.jsonl"
    settings = toy_settings(cache, environment={"TOY_EVENTS": str(notes)})
    with TritonServer(settings) as server:
        server.wait_ready()
        yield Toy(server, notes)


def test_a_closed_loop(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bench.json"
    command = ["--url", toy.url, "--text", "one two", "three", "--concurrency", "1,2"]
    assert main([*command, *FAST, "--json", str(target), "--seed", "5"]) == 0
    assert "| 2 at once | 4/4 " in capsys.readouterr().out
    one, two = json.loads(target.read_text())["levels"]
    assert (one["most_in_flight"], two["most_in_flight"]) == (1, 2)
    audio = 6 * PACKET / RATE
    for measured in (one, two):
        assert measured["completed"] == 4
        assert measured["audio_s"] == pytest.approx(audio)
        assert measured["rtf"] == pytest.approx(measured["wall_s"] / audio, abs=1e-3)
        assert 0 < measured["first_packet_s"]["p50"] <= measured["first_audible_s"]["p50"]
        assert measured["total_s"]["max"] >= measured["first_packet_s"]["max"]
    sent = [event["inputs"]["seed"][2][0] for event in toy.events() if event["event"] == "request"]
    assert sorted(sent[:4]) == [5, 6, 7, 8] and sorted(sent[4:]) == [5, 6, 7, 8]


def test_an_open_loop_goes_on_after_errors(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, target = tmp_path / "m.lst", tmp_path / "bench.json"
    manifest.write_text("good|||one two\nbad|||fail\n")
    command = ["--url", toy.url, "--manifest", str(manifest), "--rate", "20"]
    assert main([*command, *FAST, "--json", str(target)]) == 0
    told = capsys.readouterr()
    assert "| 20 a second | 2/4 " in told.out
    assert "2 UNKNOWN; the first: UNKNOWN: target_text: it says fail" in told.err
    (measured,) = json.loads(target.read_text())["levels"]
    due = [sample["due_s"] for sample in sorted(measured["samples"], key=lambda s: s["number"])]
    assert due == sorted(due) and due[0] > 0


def test_an_interrupt_leaves_what_was_measured(toy: Toy, tmp_path: Path) -> None:
    target, mark = tmp_path / "bench.json", toy.mark()
    bench = [sys.executable, "-m", "tritone_client.bench"]
    command = [*bench, "--url", toy.url, "--text", "one", HELD]
    running = subprocess.Popen(
        [*command, *FAST, "--json", str(target)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    toy.wait_for("waiting", mark)  # the second request; the first has been measured by then
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=HANG_S)
    assert running.returncode == 130, err
    assert "| 1 at once | 1/1 " in out
    assert "interrupted; this is what was measured" in err and "Traceback" not in err
    (measured,) = json.loads(target.read_text())["levels"]
    assert [sample["number"] for sample in measured["samples"]] == [0]
    assert toy.wait_for("cancelled", mark)["after"] == 1

"""The monitor against real servers."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from monitor_pages import drawn
from paths import PROJECT
from serving import SHORT
from toy_server import toy_settings
from waiting import HANG_S, wait_until

from tritone.diagnostics.monitor.health import address
from tritone.diagnostics.monitor.observer import NO_PROCESS, Observer, Snapshot
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server

MODELS = {"cosyvoice2", "cosyvoice2_unary", "frontend", "tensorrt_llm", "token2wav", "vocoder"}


def observer(server: TritonServer) -> Observer:
    urls, log = server.urls, server.settings.log_path
    return Observer(address(urls.http, urls.metrics), 60, log)


def monitored(server: TritonServer, *options: str) -> list[str]:
    """The lines of two looks."""
    urls, log = server.urls, str(server.settings.log_path)
    where = ["--url", urls.http, "--metrics-url", urls.metrics, "--log", log]
    command = [sys.executable, "-m", "tritone", "top", *where, "--count", "2", "--interval", "0.5"]
    done = subprocess.run(
        [*command, *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


@contextmanager
def speaking(client: SpeechClient) -> Iterator[None]:
    """Within it the server is never silent for long."""
    enough = threading.Event()

    def speak() -> None:
        while not enough.is_set():
            client.speak(Utterance(SHORT))

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_lines_while_the_server_speaks(server: TritonServer, client: SpeechClient) -> None:
    client.speak(Utterance(SHORT))
    with speaking(client):
        first, second = (json.loads(line) for line in monitored(server, "--json"))
    assert first["live"] and first["ready"] and not first["problems"]
    assert first["figures"]["window_s"] is None
    assert second["figures"]["window_s"] >= 0.4
    figures = second["figures"]
    assert figures["requests"]["ok"]["total"] >= 1
    assert figures["counted"]["audio_s"]["total"] > 0
    assert figures["now"]["streams"] is not None
    assert figures["waiting"].keys() == {"flow", "vocoder"}
    start = {name: spread["start"] for name, spread in figures["measured"].items()}
    assert 0 < start["first_packet_s"]["p50"] <= start["total_s"]["p95"]
    assert start["rtf"]["p50"] > 0
    assert sum(share["start"] for share in figures["parts"].values()) == pytest.approx(1, abs=1e-3)
    assert figures["cpu"]["memory_total_bytes"] > 2**30


def test_words_for_grep(server: TritonServer) -> None:
    _, line = monitored(server)
    assert " live=1 ready=1 away_since=- " in line
    assert " models.cosyvoice2.state=READY " in line
    assert " requests.ok.per_s=" in line and "requests.ok.per_s=- " not in line


def test_processes_of_a_server_on_this_machine(server: TritonServer) -> None:
    process = psutil.Process(server.pid)
    youngest = time.time() - process.create_time()
    snapshot = observer(server).observe()
    oldest = time.time() - process.create_time()
    assert set(snapshot.models) == MODELS
    for model in snapshot.models.values():
        assert model.state == "READY" and model.processes.count == 1
        assert 2**23 < model.processes.pss_bytes < 2**33
    rounding = 2.0  # of the time at which the machine was started
    assert youngest - rounding < snapshot.uptime_s < oldest + rounding
    pss = process.memory_full_info().pss
    assert snapshot.server_process.pss_bytes == pytest.approx(pss, rel=0.3)


def test_a_refused_request_is_among_the_last_errors(
    server: TritonServer, client: SpeechClient
) -> None:
    watching = observer(server)
    before = watching.observe()
    with pytest.raises(SpeechError, match="nobody"):
        client.speak(Utterance(SHORT, voice="nobody"))
    after = when(
        watching,
        lambda seen: (
            refused(seen) > refused(before) and seen.errors and "'nobody'" in seen.errors[-1].error
        ),
    )
    assert refused(after) == refused(before) + 1
    assert after.errors[-1].outcome == "refused"
    assert "'nobody' is not registered" in drawn(after)[-len(after.errors)]


def refused(snapshot: Snapshot) -> float:
    return snapshot.figures.requests["refused"].total


def when(watching: Observer, seen) -> Snapshot:
    """The first snapshot of which `seen` is true."""

    def look() -> Snapshot | None:
        snapshot = watching.observe()
        return snapshot if seen(snapshot) else None

    return wait_until(look, lambda: drawn(watching.observe()))


def test_a_model_whose_process_died_and_a_server_that_ended(tmp_path: Path) -> None:
    """Without our metrics too: the toy model has none."""
    with TritonServer(toy_settings(tmp_path, exit_timeout_s=1)) as server:
        server.wait_ready()
        watching = observer(server)
        well = watching.observe()
        assert well.models["cosyvoice2"].state == "READY" and well.problems == ()
        assert well.figures.requests["ok"].total is None
        (model,) = psutil.Process(server.pid).children()
        model.kill()
        broken = when(watching, lambda seen: seen.models["cosyvoice2"].state == NO_PROCESS)
        assert broken.live and "cosyvoice2: its process ended" in broken.problems[0]
    gone = watching.observe()
    assert gone.away_since is not None and gone.uptime_s is None
    assert "nothing answers since" in drawn(gone)[1]

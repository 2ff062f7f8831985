"""The launcher and the clients on a real Triton server, with models that need no checkpoint."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import upstream_client

from client import (
    SAMPLE_RATE,
    AsyncSpeechClient,
    SpeechClient,
    SpeechError,
    StreamMeter,
    Utterance,
)
from tritone.errors import EnvironmentProblem, StageFailed
from tritone.server import ServerSettings, TritonServer
from tritone.server.binaries import find

PROJECT = Path(__file__).resolve().parents[1]
TOY_REPO = PROJECT / "tests" / "toy_repo"
BROKEN_REPO = PROJECT / "tests" / "toy_repo_broken"
SHM = Path("/dev/shm")
PACKET = 2400
LONG = " ".join(["word"] * 100)
"""Five seconds of packets, 50 ms apart."""

pytestmark = pytest.mark.server


def free_ports() -> dict[str, int]:
    """Three neighbouring ports within 18000..18999 that nobody listens on."""
    for base in random.sample(range(18000, 18990, 3), 300):
        probes = [socket.socket() for _ in range(3)]
        try:
            for offset, probe in enumerate(probes):
                probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return {"http_port": base, "grpc_port": base + 1, "metrics_port": base + 2}
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        find(PROJECT / ".triton")
    except EnvironmentProblem as problem:
        pytest.skip(str(problem))
    return tmp_path_factory.mktemp("cache")


def toy_settings(cache_dir: Path, repository: Path = TOY_REPO, **changes: object) -> ServerSettings:
    options = {**free_ports(), "start_timeout_s": 60.0, "exit_timeout_s": 10, **changes}
    return ServerSettings(repository, PROJECT / ".triton", cache_dir=cache_dir, **options)


class Toy:
    """The running toy server, and what its model noted."""

    def __init__(self, server: TritonServer, notes: Path) -> None:
        self.server = server
        self.notes = notes

    @property
    def url(self) -> str:
        return self.server.urls.grpc

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()]

    def wait_for(self, kind: str, since: float, within_s: float = 1.0) -> dict:
        """The first event of this kind at or after `since` (time.monotonic)."""
        while True:
            for event in self.events():
                if event["event"] == kind and event["at"] >= since:
                    return event
            assert time.monotonic() < since + within_s, f"no {kind!r} within {within_s} s"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def toy(cache_dir: Path) -> Iterator[Toy]:
    notes = cache_dir / "events.jsonl"
    model = cache_dir / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings = toy_settings(
        cache_dir, model_dir=model, environment={"TOY_EVENTS": str(notes), "OMP_NUM_THREADS": "3"}
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        yield Toy(server, notes)


def descendants(server: TritonServer) -> list[psutil.Process]:
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]


def region_prefix(server: TritonServer) -> str:
    """The name before this server's regions, as on its command line; others may run beside it."""
    option = "--backend-config=python,shm-region-prefix-name="
    arguments = psutil.Process(server.pid).cmdline()
    return next(word.removeprefix(option) for word in arguments if word.startswith(option))


def regions(prefix: str) -> int:
    return len(list(SHM.glob(f"{prefix}*")))


def test_the_model_runs_in_this_environment(toy: Toy) -> None:
    event = toy.events()[0]
    assert event["event"] == "up"
    assert event["prefix"] == sys.prefix
    assert event["environment"] == {
        "TRITONE_MODEL": str(toy.server.settings.model_dir),
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": os.environ.get("MKL_NUM_THREADS", "1"),
    }


def test_stream_arrives_packet_by_packet(toy: Toy) -> None:
    with SpeechClient(toy.url) as client:
        meter = StreamMeter(SAMPLE_RATE)
        parts = []
        for samples in client.stream(Utterance("one two three four")):
            meter.packet(samples)
            parts.append(samples)
    metrics = meter.finish()
    assert [part.shape for part in parts] == [(PACKET,)] * 4
    assert min(metrics.gaps_s) > 0.02
    assert metrics.audio_s == pytest.approx(0.4)
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(PACKET) / SAMPLE_RATE)
    np.testing.assert_allclose(parts[3], tone, atol=1e-5)


def test_the_model_sees_what_the_client_sent(toy: Toy) -> None:
    wav = np.array([0.5, -0.5, 0.25, 0.0], np.float32)
    utterance = Utterance(
        "hello", wav, 24000, 3, "said", "slowly", "anna", 7, 0.5, 0.75, 25, 1.5, streaming=False
    )
    since = time.monotonic()
    with SpeechClient(toy.url) as client:
        packets = list(client.packets(utterance, timing=True, request_id="r1"))
    assert [packet.samples.size for packet in packets] == [PACKET]
    assert packets[0].timing == {"packets": 1}
    event = toy.wait_for("request", since)
    assert sorted(event["asked"]) == ["timing", "waveform"]
    assert event["inputs"] == {
        "target_text": ["object", [1, 1], ["hello"]],
        "reference_wav": ["float32", [1, 4], [0.5, -0.5, 0.25, 0.0]],
        "reference_wav_len": ["int32", [1, 1], [3]],
        "reference_sample_rate": ["int32", [1, 1], [24000]],
        "reference_text": ["object", [1, 1], ["said"]],
        "instruct_text": ["object", [1, 1], ["slowly"]],
        "voice": ["object", [1, 1], ["anna"]],
        "seed": ["uint64", [1, 1], [7]],
        "temperature": ["float32", [1, 1], [0.5]],
        "top_p": ["float32", [1, 1], [0.75]],
        "top_k": ["int32", [1, 1], [25]],
        "speed": ["float32", [1, 1], [1.5]],
        "streaming": ["bool", [1, 1], [False]],
    }


def test_async_streams_run_side_by_side(toy: Toy) -> None:
    async def speak_all() -> tuple[list[np.ndarray], float]:
        started = time.monotonic()
        async with AsyncSpeechClient(toy.url) as client:
            waves = await asyncio.gather(*(client.speak(Utterance("a b c d")) for _ in range(4)))
        return waves, time.monotonic() - started

    waves, seconds = asyncio.run(speak_all())
    assert [wave.size for wave in waves] == [4 * PACKET] * 4
    assert seconds < 0.6, "four streams of 0.2 s did not overlap"


def test_a_client_of_the_upstream_runtime_is_served(toy: Toy) -> None:
    since = time.monotonic()
    wav = np.full(20000, 0.5, np.float32)
    chunks = upstream_client.speak(toy.url, wav, "what was said", "one two three", timeout=10)
    assert [chunk.size for chunk in chunks] == [PACKET] * 3
    event = toy.wait_for("request", since)
    assert event["asked"] == ["waveform"]
    assert event["inputs"] == {
        "reference_wav": ["float32", [1, 160000], [0.5] * 4],
        "reference_wav_len": ["int32", [1, 1], [20000]],
        "reference_text": ["object", [1, 1], ["what was said"]],
        "target_text": ["object", [1, 1], ["one two three"]],
    }


def test_leaving_the_loop_cancels_on_the_server(toy: Toy) -> None:
    with SpeechClient(toy.url) as client:
        for _ in client.stream(Utterance(LONG)):
            break
        event = toy.wait_for("cancelled", time.monotonic() - 0.05)
    assert event["after"] < 20


def test_leaving_the_async_loop_cancels_on_the_server(toy: Toy) -> None:
    async def leave_early() -> float:
        async with AsyncSpeechClient(toy.url) as client:
            async with aclosing(client.stream(Utterance(LONG))) as stream:
                async for _ in stream:
                    break
            return time.monotonic()

    event = toy.wait_for("cancelled", asyncio.run(leave_early()) - 0.05)
    assert event["after"] < 20


def test_cancelling_the_task_cancels_on_the_server(toy: Toy) -> None:
    async def cancel_task() -> float:
        async with AsyncSpeechClient(toy.url) as client:
            task = asyncio.create_task(client.speak(Utterance(LONG)))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic()

    event = toy.wait_for("cancelled", asyncio.run(cancel_task()) - 0.05)
    assert event["after"] < 20


def test_a_deadline_ends_both_sides(toy: Toy) -> None:
    started = time.monotonic()
    with SpeechClient(toy.url) as client, pytest.raises(SpeechError) as caught:
        client.speak(Utterance(LONG), timeout=0.3)
    assert caught.value.status == "DEADLINE_EXCEEDED"
    assert time.monotonic() - started < 0.8
    toy.wait_for("cancelled", started, within_s=1.5)


def test_an_error_surfaces_in_both_clients_and_harms_nobody(toy: Toy) -> None:
    async def speak() -> None:
        async with AsyncSpeechClient(toy.url) as client:
            await client.speak(Utterance("one fail"))

    with SpeechClient(toy.url) as client:
        for _ in range(20):
            with pytest.raises(SpeechError, match="target_text: it says fail"):
                client.speak(Utterance("fail"))
        with pytest.raises(SpeechError, match="target_text: it says fail"):
            asyncio.run(speak())
        assert client.speak(Utterance("fine")).size == PACKET


def test_say_command(toy: Toy, tmp_path: Path) -> None:
    target = tmp_path / "said.wav"
    command = [sys.executable, "-m", "client.say", "one two", "--url", toy.url, "-o", str(target)]
    done = subprocess.run(
        [*command, "--json"], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout)["packets"] == 2
    assert "0.20 s of audio" in done.stderr
    assert target.stat().st_size == 44 + 2 * 2 * PACKET


def test_a_taken_port_names_its_holder(toy: Toy, cache_dir: Path) -> None:
    settings = toy_settings(cache_dir, grpc_port=toy.server.settings.grpc_port)
    expected = rf"grpc port {settings.grpc_port} is taken by process {toy.server.pid} "
    with pytest.raises(EnvironmentProblem, match=expected), TritonServer(settings):
        pytest.fail("it started")


def test_a_model_that_cannot_load_is_named(cache_dir: Path) -> None:
    settings = toy_settings(cache_dir, BROKEN_REPO)
    with pytest.raises(EnvironmentProblem) as caught, TritonServer(settings) as server:
        prefix = region_prefix(server)
        server.wait_ready()
    first, *rest = str(caught.value).splitlines()
    assert "model frontend failed to load: Internal: FileNotFoundError: tokenizer.json" in first
    assert rest[-1] == "error: creating server: Internal - failed to load all models"
    assert regions(prefix) == 0


def test_late_models_are_named_and_stop_leaves_nothing(cache_dir: Path) -> None:
    with TritonServer(toy_settings(cache_dir, start_timeout_s=1.0)) as server:
        with pytest.raises(EnvironmentProblem, match=r"after 1 s; models not ready: cosyvoice2;"):
            server.wait_ready()
        processes = descendants(server)
        assert len(processes) == 2, "a server and the process of its one model"
        prefix = region_prefix(server)
        assert regions(prefix) == 2, "the lock file and the model's region"
    assert not psutil.wait_procs(processes, timeout=2)[1]
    assert regions(prefix) == 0


def test_stop_leaves_nothing(cache_dir: Path) -> None:
    with TritonServer(toy_settings(cache_dir)) as server:
        server.wait_ready()
        prefix = region_prefix(server)
        processes = descendants(server)
        stopped = time.monotonic()
    assert not psutil.wait_procs(processes, timeout=0)[1]
    assert regions(prefix) == 0
    assert time.monotonic() - stopped < 6, "the exit timeout was waited for"


def test_a_crash_reaches_the_client_and_leaves_nothing(cache_dir: Path) -> None:
    """The stub of a crashed server does not end by itself; the launcher ends it."""
    with (
        TritonServer(toy_settings(cache_dir)) as server,
        SpeechClient(server.urls.grpc) as client,
    ):
        server.wait_ready()
        prefix = region_prefix(server)
        processes = descendants(server)
        stream = client.stream(Utterance(LONG), timeout=20)
        next(stream)
        threading.Timer(0.1, os.kill, (server.pid, signal.SIGKILL)).start()
        with pytest.raises(SpeechError) as caught:
            list(stream)
        assert caught.value.status == "UNAVAILABLE"
        assert server.wait() == -signal.SIGKILL
    assert not psutil.wait_procs(processes, timeout=2)[1]
    assert regions(prefix) == 0


def test_the_death_of_a_model_process_is_noticed(cache_dir: Path) -> None:
    """Triton itself stays ready without it."""
    with TritonServer(toy_settings(cache_dir, exit_timeout_s=1)) as server:
        server.wait_ready()
        descendants(server)[1].kill()
        with pytest.raises(StageFailed, match="cosyvoice2: its process ended"):
            server.wait()


def test_the_command_ends_its_server_on_every_signal(cache_dir: Path) -> None:
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    with ExitStack() as stack:
        launchers = [stack.enter_context(launch_command(cache_dir)) for _ in signals]
        started = []
        for launcher, port in launchers:
            lines = [launcher.stdout.readline() for _ in range(4)]
            assert lines[1].startswith("ready after ")
            assert f"client.say --url 127.0.0.1:{port} " in lines[3]
            started += psutil.Process(launcher.pid).children(recursive=True)
        assert len(started) == 2 * len(signals), "a server and the process of its one model, each"
        for number, (launcher, _) in zip(signals, launchers, strict=True):
            launcher.send_signal(number)
        status = [launcher.wait(timeout=20) for launcher, _ in launchers]
        assert status == [0, 128 + signal.SIGTERM, -signal.SIGKILL]
        assert not psutil.wait_procs(started, timeout=10)[1]


@contextmanager
def launch_command(cache_dir: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """scripts/serve.py with the toy models, and its gRPC port."""
    ports = free_ports()
    command = [sys.executable, "scripts/serve.py", "--model-repository", str(TOY_REPO)]
    options = ["--port-base", str(ports["http_port"]), "--cache-dir", str(cache_dir)]
    with subprocess.Popen(
        [*command, *options], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as launcher:
        yield launcher, ports["grpc_port"]

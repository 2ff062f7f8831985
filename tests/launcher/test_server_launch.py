"""The launcher and a real Triton server: starting, stopping, and everything that goes wrong."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from paths import PROJECT, SUPPORT
from toy_server import HELD, PACKET, TOY_REPO, Toy, free_ports, toy_settings
from waiting import HANG_S, wait_until

from tritone.errors import EnvironmentProblem, StageFailed
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance

BROKEN_REPO = SUPPORT / "toy_repo_broken"
LOADING_REPO = SUPPORT / "toy_repo_loading"
SHM = Path("/dev/shm")

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def descendants(server: TritonServer) -> list[psutil.Process]:
    process = psutil.Process(server.pid)
    return [process, *process.children(recursive=True)]


def region_prefix(server: TritonServer) -> str:
    """The name before this server's regions; others may run beside it."""
    return server._regions.prefix


def regions(prefix: str) -> int:
    return len(list(SHM.glob(f"{prefix}*")))


@contextmanager
def held_server(cache_dir: Path) -> Iterator[Toy]:
    """A server whose utterances can be held at a gate; its stop waits for them."""
    notes = cache_dir / "events.jsonl"
    changes = {"environment": {"TOY_EVENTS": str(notes)}, "exit_timeout_s": HANG_S}
    with TritonServer(toy_settings(cache_dir, **changes)) as server:
        server.wait_ready()
        yield Toy(server, notes)


def test_a_model_that_cannot_load_is_named(cache_dir: Path) -> None:
    settings = toy_settings(cache_dir, BROKEN_REPO, public_model="frontend")
    with pytest.raises(EnvironmentProblem) as caught, TritonServer(settings) as server:
        prefix = region_prefix(server)
        server.wait_ready()
    first, *rest = str(caught.value).splitlines()
    assert "model frontend failed to load: Internal: FileNotFoundError: tokenizer.json" in first
    assert any(line.startswith("error: creating server: Invalid argument") for line in rest)
    assert regions(prefix) == 0


def test_late_models_are_named_and_stop_leaves_nothing(cache_dir: Path) -> None:
    settings = toy_settings(
        cache_dir, LOADING_REPO, start_timeout_s=1.0, environment={"TOY_LOADING": "hangs"}
    )
    with TritonServer(settings) as server:
        log = settings.log_path
        wait_until(lambda: "flow weights: begins" in log.read_text(), log.read_text)
        with pytest.raises(EnvironmentProblem, match=r"after 1 s; models not ready: cosyvoice2;"):
            server.wait_ready()
        processes = descendants(server)
        assert len(processes) == 2, "a server and the process of its one model"
        prefix = region_prefix(server)
        assert regions(prefix) == 2, "the lock file and the model's region"
    assert not psutil.wait_procs(processes, timeout=HANG_S)[1]
    assert regions(prefix) == 0


def test_stop_lets_utterances_end_and_takes_no_new_ones(cache_dir: Path) -> None:
    with held_server(cache_dir) as toy, SpeechClient(toy.url) as client:
        stream = client.stream(Utterance("one wait:refusal two three"), timeout=2 * HANG_S)
        samples = next(stream).size
        stopping = threading.Thread(target=toy.server.stop)
        stopping.start()
        with pytest.raises(SpeechError, match="cosyvoice2"):
            while stopping.is_alive():  # what comes before the stop is still spoken
                client.speak(Utterance("too late"), timeout=HANG_S)
        assert stopping.is_alive(), "it waits for the utterance"
        toy.open("refusal")
        assert samples + sum(part.size for part in stream) == 3 * PACKET
        stopping.join()


def test_stop_leaves_nothing(cache_dir: Path) -> None:
    with TritonServer(toy_settings(cache_dir, exit_timeout_s=10 * HANG_S)) as server:
        server.wait_ready()
        prefix = region_prefix(server)
        processes = descendants(server)
        stopped = time.monotonic()
    assert not psutil.wait_procs(processes, timeout=0)[1]
    assert regions(prefix) == 0
    assert time.monotonic() - stopped < HANG_S, "the exit timeout was waited for"


def test_a_crash_reaches_the_client_and_leaves_nothing(cache_dir: Path) -> None:
    """The stub of a crashed server does not end by itself; the launcher ends it."""
    with held_server(cache_dir) as toy, SpeechClient(toy.url) as client:
        prefix = region_prefix(toy.server)
        processes = descendants(toy.server)
        stream = client.stream(Utterance(HELD), timeout=HANG_S)
        next(stream)
        os.kill(toy.server.pid, signal.SIGKILL)
        with pytest.raises(SpeechError) as caught:
            next(stream)
        assert caught.value.status == "UNAVAILABLE"
        assert toy.server.wait() == -signal.SIGKILL
    assert not psutil.wait_procs(processes, timeout=HANG_S)[1]
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
            assert f"tritone say --url 127.0.0.1:{port} " in lines[3]
            started += psutil.Process(launcher.pid).children(recursive=True)
        assert len(started) == 2 * len(signals), "a server and the process of its one model, each"
        for number, (launcher, _) in zip(signals, launchers, strict=True):
            launcher.send_signal(number)
        status = [launcher.wait(timeout=HANG_S) for launcher, _ in launchers]
        assert status == [0, 128 + signal.SIGTERM, -signal.SIGKILL]
        assert not psutil.wait_procs(started, timeout=HANG_S)[1]


@contextmanager
def launch_command(cache_dir: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """`tritone serve` with the toy models, and its gRPC port."""
    ports = free_ports()
    command = [sys.executable, "-m", "tritone", "serve", "--model-repository", str(TOY_REPO)]
    options = [
        "--no-warm-up",
        "--no-golden",
        "--port-base",
        str(ports["http_port"]),
        "--cache-dir",
        str(cache_dir),
    ]
    with subprocess.Popen(
        [*command, *options], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as launcher:
        yield launcher, ports["grpc_port"]

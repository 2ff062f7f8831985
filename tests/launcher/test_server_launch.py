"""The launcher and a real Triton server: starting, stopping, and everything that goes wrong."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from paths import SUPPORT
from toy_server import HELD, PACKET, Toy, launched, toy_settings
from waiting import HANG_S, wait_until

from tritone.errors import EnvironmentProblem
from tritone.launcher import TritonServer
from tritone.launcher.health import HealthLimits
from tritone.launcher.model_watch import Loss
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
        assert regions(prefix) == 3, "the lock file, the links and the model's region"
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
        files = [path for path in SHM.glob(f"{prefix}*") if path.is_file()]
        modes = {path.stat().st_mode & 0o777 for path in files}
        assert modes == {0o600}, "texts pass through there"
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
        assert toy.server.next_loss() is None
        assert toy.server.exit_status == -signal.SIGKILL
    assert not psutil.wait_procs(processes, timeout=HANG_S)[1]
    assert regions(prefix) == 0


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGKILL, "its process ended"), (signal.SIGSTOP, "it was stopped by a signal")],
)
def test_a_model_process_that_dies_or_stops_is_noticed(
    cache_dir: Path, number: signal.Signals, reason: str
) -> None:
    """Triton itself stays ready without it."""
    with TritonServer(toy_settings(cache_dir, exit_timeout_s=1)) as server:
        server.wait_ready()
        descendants(server)[1].send_signal(number)
        assert server.next_loss() == Loss("cosyvoice2", reason)


def test_a_model_that_outgrows_its_memory_is_ended(cache_dir: Path) -> None:
    settings = toy_settings(cache_dir, exit_timeout_s=1, health=HealthLimits(memory_mb=1))
    with TritonServer(settings) as server:
        server.wait_ready()
        loss = server.next_loss()
    assert loss.model == "cosyvoice2"
    assert re.fullmatch(r"it has \d+ MB; the limit \(--memory-limit-mb\) is 1", loss.reason)


def test_the_command_ends_its_server_on_every_signal(cache_dir: Path) -> None:
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    with ExitStack() as stack:
        launchers = [stack.enter_context(launched(cache_dir)) for _ in signals]
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
        assert status == [0, 0, -signal.SIGKILL]
        assert not psutil.wait_procs(started, timeout=HANG_S)[1]


def test_the_command_tells_a_failure_from_a_start_that_was_refused(cache_dir: Path) -> None:
    """A service manager restarts after the one, status 1, and not after the other, status 2."""
    with launched(cache_dir, "--restarts-per-hour", "1") as (launcher, _):
        for _ in range(2):
            while not launcher.stdout.readline().startswith("say something"):
                assert launcher.poll() is None
            (server,) = psutil.Process(launcher.pid).children()
            (model,) = server.children()
            model.kill()
        assert launcher.wait(timeout=HANG_S) == 1

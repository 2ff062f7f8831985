"""The doctor's checks of a running server: fakes with faults, and the real one."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from paths import PROJECT
from toy_server import free_ports
from triton_http import FakeTriton
from waiting import HANG_S

from tritone.cli import server_speech
from tritone.diagnostics.doctor.check import Finding, Status, checks_in
from tritone.diagnostics.doctor.checks import server as checks
from tritone.diagnostics.doctor.checks.server import ANSWER_S, Reach, ask
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target
from tritone.launcher import TritonServer
from tritone.launcher.model_processes import by_model

pytestmark = pytest.mark.slow

GOOD = dict.fromkeys(
    ["cosyvoice2", "frontend", "tensorrt_llm", "token2wav", "vocoder"], ("READY", "")
)
CHECKS = checks_in(checks, server_speech)


def check(name: str):
    return next(c for c in CHECKS if c.name == f"server.{name}")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(cache_dir=tmp_path, **free_ports())


@pytest.fixture(autouse=True)
def limit_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where it is not under test."""
    monkeypatch.setattr(checks, "ANSWER_S", HANG_S)


@pytest.fixture
def silent(target: Target) -> Iterator[int]:
    """A listener that accepts and never answers."""
    with socket.create_server(("127.0.0.1", target.http_port)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def loading(target: Target) -> Iterator[int]:
    """A process that looks like a Triton server, before it listens."""
    code = "import time; print('runs', flush=True); time.sleep(1000)"
    command = ["tritonserver", "-c", code, f"--http-port={target.http_port}"]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()  # before it runs its command line may be empty
        yield process.pid
        process.kill()


def write_log(target: Target, *lines: str) -> Path:
    path = checks.log_path(target)
    path.parent.mkdir()
    path.write_text("\n".join(lines))
    return path


class TestNoServer:
    def test_nothing_answers(self, target: Target):
        found = checks.live(target)
        assert found.status is Status.SKIP
        assert found.text.startswith(f"no server answers on http://127.0.0.1:{target.http_port}")
        assert found.text.endswith("start one: make serve")

    def test_one_that_is_demanded_is_dead(self, target: Target):
        found = examine(CHECKS, replace(target, server=True))
        assert found[0].finding.status is Status.FAIL
        assert "nothing listens" in found[0].finding.text
        assert f"--port-base {target.http_port}" in found[0].finding.fix
        assert {d.finding.text for d in found[1:]} == {"no live server; see server.live"}

    def test_one_that_is_to_be_left_alone(self, target: Target):
        with FakeTriton(GOOD, target.http_port):
            for one in CHECKS:
                assert one(replace(target, server=False)).status is Status.SKIP

    def test_one_that_hangs_is_named(self, target: Target, silent: int):
        (diagnosis,) = examine([check("live")], target)
        found = diagnosis.finding
        assert found.status is Status.FAIL
        assert "accepts connections and does not answer within 3 s: process" in found.text
        assert found.text.endswith("hangs")
        assert found.fix.startswith("kill -9 ")
        assert check("live").limit_s > ANSWER_S

    def test_something_else_listens(self, target: Target, monkeypatch):
        with FakeTriton(GOOD, target.http_port) as other:
            monkeypatch.setattr(other, "get", lambda path: (404, b""))
            assert checks.live(target).status is Status.SKIP
            found = checks.live(replace(target, server=True))
        assert found.status is Status.FAIL
        assert "HTTP 404, no Triton server" in found.text

    def test_what_speaks_no_http(self, target: Target):
        greeter = (
            "import socket, sys\n"
            "with socket.create_server(('127.0.0.1', int(sys.argv[1]))) as s:\n"
            "    print('listening', flush=True)\n"
            "    s.accept()[0].sendall(b'220 mail')\n"
        )
        command = [sys.executable, "-c", greeter, str(target.http_port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert ask(target, "/").reach is Reach.FOREIGN


class TestLoading:
    STEP = (
        "load token2wav, flow weights: begins at {} (/m/flow.safetensors, 449.6 MB, "
        "resident 180 MiB, late after 52 s)"
    )

    BEGAN = datetime(2024, 1, 1, tzinfo=timezone.utc)

    @pytest.fixture(autouse=True)
    def _clock(self, monkeypatch) -> None:
        """70 s after the step of the log began."""
        now = self.BEGAN.timestamp() + 70
        monkeypatch.setattr(checks, "time", SimpleNamespace(time=lambda: now))

    def test_a_server_that_does_not_listen_yet(self, target: Target, loading: int):
        log = write_log(target, self.STEP.format(self.BEGAN.isoformat()))
        found = checks.live(target)
        assert found.status is Status.WARN
        assert f"process {loading} has run for " in found.text
        assert "token2wav has been for 70 s in the step flow weights (late after 52 s; likely" in (
            found.text
        )
        assert found.fix == (
            f"tritone load {target.model_dir}; tritone doctor --only "
            f"model.weights --model {target.model_dir}; tail {log}"
        )

    def test_for_too_long(self, target: Target, loading: int, monkeypatch):
        monkeypatch.setattr(checks, "uptime_s", lambda pid: 1000.0)
        found = checks.live(target)
        assert found.status is Status.FAIL
        assert "1000 s" in found.text
        assert "its log names no step" in found.text

    def test_live_but_not_ready(self, target: Target):
        write_log(target, self.STEP.format((self.BEGAN + timedelta(seconds=30)).isoformat()))
        states = {**GOOD, "token2wav": ("LOADING", ""), "vocoder": ("UNAVAILABLE", "no file")}
        with FakeTriton(states, target.http_port):
            found = checks.ready(target)
        assert found.status is Status.FAIL
        assert "models not ready: token2wav, vocoder; token2wav has been for 40 s" in found.text
        assert "tritone load" in found.fix


class TestModels:
    def test_one_is_unavailable_for_a_reason(self, target: Target):
        reason = "Internal: ModelDirectoryError: flow.safetensors is cut off"
        with FakeTriton({**GOOD, "token2wav": ("UNAVAILABLE", reason)}, target.http_port):
            (diagnosis,) = examine([check("models")], target)
        found = diagnosis.finding
        assert found.status is Status.FAIL
        assert found.text == f"token2wav is UNAVAILABLE: {reason}"
        assert found.fix.startswith(f"tritone load {target.model_dir}")

    def test_a_server_that_keeps_its_index_to_itself(self, target: Target):
        with FakeTriton({**GOOD, "vocoder": ("LOADING", "")}, target.http_port, has_index=False):
            assert checks.models(target).text == "vocoder is not ready"
        with FakeTriton(GOOD, target.http_port, has_index=False):
            assert checks.models(target).status is Status.PASS

    def test_another_repository(self, target: Target):
        with FakeTriton({"resnet": ("READY", "")}, target.http_port):
            found = checks.models(target)
        assert found.status is Status.FAIL
        assert "the server has resnet, and no cosyvoice2" in found.text

    def test_processes_that_cannot_be_seen(self, target: Target):
        with FakeTriton(GOOD, target.http_port):
            assert checks.processes(target).status is Status.SKIP


@pytest.mark.server
class TestRealServer:
    @pytest.fixture
    def target(self, server: TritonServer) -> Target:
        settings = server.settings
        return Target(
            cache_dir=settings.cache_dir,
            http_port=settings.http_port,
            grpc_port=settings.grpc_port,
            metrics_port=settings.metrics_port,
            server=True,
        )

    def test_all_is_well(self, target: Target):
        found = {d.check.name: d.finding for d in examine(CHECKS, target)}
        pace = found.pop("server.speech")
        assert {f.status for f in found.values()} == {Status.PASS}, found
        assert "cosyvoice2, cosyvoice2_unary, frontend, tensorrt_llm, token2wav" in (
            found["server.processes"].text
        )
        assert "GiB of memory" in found["server.processes"].text
        assert pace.status in (Status.PASS, Status.WARN), pace  # others may use the machine
        assert "dBFS; first packet " in pace.text

    def test_what_it_says_is_compared_with_this_machine(self, target: Target):
        expected = server_speech.expected_first_s(target)
        assert expected is not None
        assert expected > 0
        elsewhere = replace(target, http_port=1, model_dir=PROJECT)
        assert server_speech.expected_first_s(elsewhere) is None

    def test_a_model_whose_process_has_ended(self, target: Target, monkeypatch):
        def without_vocoder(pid: int):
            return {model: used for model, used in by_model(pid).items() if model != "vocoder"}

        monkeypatch.setattr(checks, "by_model", without_vocoder)
        found: Finding = checks.processes(target)
        assert found.status is Status.FAIL
        assert found.text.startswith("vocoder: the process has ended while the server calls")
        assert "restart the server" in found.fix

"""Ports, shared memory and log of a server, without a server."""

import os
import socket
from pathlib import Path

import pytest
from monitor_pages import answering

from tritone.errors import EnvironmentProblem
from tritone.launcher.ports import check_free
from tritone.launcher.readiness import is_open
from tritone.launcher.server_log import ServerLog
from tritone.launcher.settings import ServerUrls
from tritone.launcher.shared_memory import acquire_regions, sweep_regions


class TestPorts:
    def test_a_taken_port_names_its_holder(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            expected = rf"grpc port {port} is taken by process {os.getpid()} \(.*--grpc-port or"
            with pytest.raises(EnvironmentProblem, match=expected):
                check_free("127.0.0.1", {"grpc": port})

    def test_two_services_on_one_port(self):
        with pytest.raises(EnvironmentProblem, match="a port of its own"):
            check_free("127.0.0.1", {"http": 18000, "grpc": 18000})

    def test_a_foreign_address(self):
        with pytest.raises(EnvironmentProblem, match=r"cannot listen on 192\.0\.2\.1:18000"):
            check_free("192.0.2.1", {"http": 18000})

    def test_a_port_out_of_range(self):
        with pytest.raises(EnvironmentProblem, match=r"127\.0\.0\.1:70000 for http"):
            check_free("127.0.0.1", {"http": 70000})


def test_a_server_that_is_ready_is_open_once_its_metrics_are() -> None:
    ready = {"/v2/health/ready": b""}
    with answering(ready) as http, answering({}) as metrics:
        urls = ServerUrls(f"http://{http.url}", "", f"http://{metrics.url}/metrics")
        assert not is_open(urls)
        metrics.routes["/metrics"] = b"nv_gpu_utilization 0"
        assert is_open(urls)
        http.routes.clear()
        assert not is_open(urls)


class TestSharedMemory:
    def test_only_what_nobody_holds_is_swept(self, tmp_path):
        living = acquire_regions(tmp_path)
        (tmp_path / f"{living.prefix}region").touch()
        (tmp_path / "tritone_0000dead_folder" / "inner").mkdir(parents=True)
        for name in ("tritone_0000dead_lock", "tritone_0000dead_region", "tritone_other"):
            (tmp_path / name).touch()
        for prefix in (living.prefix, "tritone_0000dead_"):
            (tmp_path / f"{prefix}links").mkdir()
            (tmp_path / f"{prefix}links" / "model").symlink_to("/elsewhere")
        assert sweep_regions(tmp_path) == ["tritone_0000dead_"]
        assert {path.name for path in tmp_path.iterdir()} == {
            "tritone_other",
            f"{living.prefix}links",
            f"{living.prefix}lock",
            f"{living.prefix}region",
        }
        living.release()
        assert [path.name for path in tmp_path.iterdir()] == ["tritone_other"]

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        with pytest.raises(EnvironmentProblem, match="--ipc=host"):
            acquire_regions(tmp_path / "none")


class TestLog:
    LINES = (
        'I1122 00:59:46.9 1 model_lifecycle.cc:472] "loading: frontend:1"',
        'I1122 00:59:46.9 1 model_lifecycle.cc:472] "loading: vocoder:1"',
        'I1122 00:59:47.0 1 model_lifecycle.cc:472] "loading: token2wav:1"',
        "I1122 00:59:48.1 1 model_lifecycle.cc:839] \"successfully loaded 'vocoder'\"",
        "E1122 00:59:48.5 1 model_lifecycle.cc:642] \"failed to load 'frontend' version 1: "
        'Internal: OSError: no tokenizer.json\\n\\nAt:\\n  /repo/frontend/1/model.py(6): init\\n"',
        "+----------+",
        "| frontend |",
        "error: creating server: Internal - failed to load all models",
    )

    @pytest.fixture
    def log(self, tmp_path):
        log = ServerLog(tmp_path / "logs" / "triton.log", echo=False)
        log.path.write_text("\n".join(self.LINES))
        yield log
        log.close()

    def test_what_the_log_says(self, log):
        assert log.loading() == ["frontend", "token2wav"]
        assert log.failures() == {"frontend": "Internal: OSError: no tokenizer.json"}
        assert log.fatal() == "creating server: Internal - failed to load all models"
        assert log.tail(2).splitlines() == [self.LINES[4], self.LINES[7]]

    @pytest.mark.parametrize(
        "line, reason",
        [
            (
                "failed to start HTTP service: Unavailable - Socket '127.0.0.1:1' already in use ",
                "failed to start HTTP service: Unavailable - Socket '127.0.0.1:1' already in use",
            ),
            ("/bin/tritonserver: unrecognized option '--no'", "unrecognized option '--no'"),
        ],
    )
    def test_reasons_apart_from_models(self, log, line, reason):
        log.path.write_text(f"I1122 something\n{line}\nlast words\n")
        assert log.fatal() == reason

    def test_the_log_before_is_kept(self, log):
        ServerLog(log.path, echo=False).close()
        assert log.path.read_text() == ""
        assert Path(f"{log.path}.1").read_text() == "\n".join(self.LINES)

    def test_a_log_without_reasons(self, tmp_path):
        log = ServerLog(tmp_path / "triton.log", echo=False)
        assert (log.failures(), log.fatal(), log.tail()) == ({}, None, "")
        log.close()

    def test_an_echoed_log_is_kept_too(self, tmp_path, capfdbinary):
        source = tmp_path / "source"
        source.write_bytes(b"one\ntwo\n")
        log = ServerLog(tmp_path / "triton.log", echo=True)
        log.copy_from(source.open("rb"))
        log.close()
        assert log.path.stat().st_mode & 0o777 == 0o600
        assert log.path.read_bytes() == capfdbinary.readouterr().err == b"one\ntwo\n"

"""The script that looks for the stall of the C++ backend, against the CPU profile."""

import re
import sys
from pathlib import Path

import pytest
from paths import EMBEDDED, SUPPORT
from toy_server import toy_settings
from waiting import HANG_S

from benchmarks import backend_stall as script
from tritone.launcher import TritonServer

LLM_REPO = SUPPORT / "toy_repo_llm"
GOOD = script.Outcome(tokens=10, first_s=0.1, total_s=0.5, problem="")
STALLED = script.Outcome(tokens=1, first_s=0.1, total_s=15.0, problem="no end within 15 s")


@pytest.mark.parametrize(
    "outcomes, status, words",
    [
        ([GOOD, GOOD], 0, "no stall: all 2 requests were complete"),
        ([GOOD, STALLED, STALLED], 1, "the stall is there: 2 of 3 requests were incomplete"),
        ([STALLED, STALLED], 2, "not even the first request was complete"),
    ],
)
def test_the_status_says_which(outcomes, status, words, capsys) -> None:
    assert script.judge(outcomes) == status
    output = capsys.readouterr()
    assert words in output.out + output.err


def options(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce_backend_stall.py", *arguments])


def test_a_machine_without_a_gpu_is_told_so(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr("tritone.launcher.profiles.DRIVER_FILES", (tmp_path / "none",))
    monkeypatch.setattr("tritone.launcher.profiles.shutil.which", lambda name: None)
    options(monkeypatch, "--cache-dir", str(tmp_path))
    assert script.main() == 2
    assert "profile gpu-backend: no NVIDIA driver" in capsys.readouterr().err


@pytest.mark.server
def test_the_cpu_profile_does_not_stall(server: TritonServer, monkeypatch, capsys) -> None:
    chosen = ["--url", server.urls.grpc, "--model", str(EMBEDDED), "--limit", str(HANG_S)]
    monkeypatch.setenv("TRITONE_INNER_KEY", server.inner_key)
    options(monkeypatch, *chosen, "--requests", "3", "--together", "2", "--tokens", "30")
    assert script.main() == 0
    lines = capsys.readouterr().out.splitlines()
    complete = [line for line in lines if re.fullmatch(r".+ 30 +\d+ +\d+\.\d\d  complete", line)]
    assert len(complete) == 5 and lines[-1] == "no stall: all 5 requests were complete"


@pytest.mark.server
def test_time_runs_out_for_a_request_that_does_not_end(monkeypatch, tmp_path: Path, capsys) -> None:
    settings = toy_settings(tmp_path, LLM_REPO, model_dir=EMBEDDED, public_model="tensorrt_llm")
    with TritonServer(settings) as server:
        server.wait_ready()
        chosen = ["--url", server.urls.grpc, "--model", str(EMBEDDED), "--limit", "0.3"]
        options(monkeypatch, *chosen, "--requests", "1", "--together", "1", "--tokens", "2")
        assert script.main() == 2
    assert "no end within 0.3 s" in capsys.readouterr().out

"""Staged loading on a real Triton server: a model that hangs or fails, and models that load."""

import logging
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from paths import EMBEDDED, SUPPORT
from toy_server import toy_settings
from waiting import wait_until

from tritone.errors import EnvironmentProblem, StartCrashed
from tritone.launcher import ServerSettings, TritonServer, server_log
from tritone.loading.reports import states

LOADING_REPO = SUPPORT / "toy_repo_loading"
ADVICE = (
    r"likely cause: the disk or network folder with the file is slow .*; examine: "
    r"tritone doctor --only model\.weights --model "
)

pytestmark = pytest.mark.server


def loading_settings(cache_dir: Path, loading: str, **variables: str) -> ServerSettings:
    environment = {"TOY_LOADING": loading, "TRITONE_LOAD_PATIENCE": "0.02", **variables}
    return toy_settings(cache_dir, LOADING_REPO, model_dir=EMBEDDED, environment=environment)


def why(server: TritonServer) -> str:
    """The launcher's message about a server that does not become ready."""
    with pytest.raises(EnvironmentProblem) as caught:
        server.wait_ready()
    return str(caught.value)


def test_a_model_that_hangs_is_named_with_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_log, "FIRST_TOLD_S", 0.05)
    settings = replace(loading_settings(tmp_path, "hangs"), start_timeout_s=5.0)
    late = re.compile(rf"W.*load cosyvoice2, flow weights: late, \d+ s \(.*\); {ADVICE}")
    with caplog.at_level(logging.INFO, "tritone"), TritonServer(settings) as server:
        wait_until(lambda: len(late.findall(settings.log_path.read_text())) >= 2)
        first, model = why(server).splitlines()
    assert "not ready after 5 s; models not ready: cosyvoice2;" in first
    in_step = rf"  cosyvoice2: in the step flow weights for \d+ s; {ADVICE}"
    assert re.match(in_step, model)
    # while it started
    assert "still loading after 0.05 s" in caplog.text and re.search(in_step, caplog.text)
    # and in the log: the steps, and the stacks with each word of the watchdog
    log = settings.log_path.read_text()
    assert re.search(r"load cosyvoice2, text tokenizer: done in \d", log)
    assert re.search(r"load cosyvoice2, flow weights: begins at \S+ \(\S+/model\.py, 0\.\d kB", log)
    assert log.count("in a_disk_that_does_not_answer") >= len(late.findall(log)) - 1 >= 1


def test_a_deadline_ends_the_start(tmp_path: Path) -> None:
    settings = loading_settings(tmp_path, "hangs", TRITONE_LOAD_DEADLINE="1")
    with TritonServer(settings) as server:
        message = why(server)
    assert "the Triton server ended at start (status 1): model cosyvoice2 failed" in message
    assert re.search(rf"\n  cosyvoice2: in the step flow weights for \d+ s; {ADVICE}", message)
    # by the watchdog's thread, or by faulthandler's where that one had no time to run
    ends = r"it took longer than the deadline of 1 s|Timeout \(0:00:03"
    assert re.search(ends, settings.log_path.read_text())


def test_a_crash_while_it_starts_is_told_apart(tmp_path: Path) -> None:
    settings = loading_settings(tmp_path, "hangs")
    with TritonServer(settings) as server:
        wait_until(lambda: "flow weights: begins" in settings.log_path.read_text())
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentProblem, match=r"ended at start \(signal 9\)") as killed:
            server.wait_ready()
    assert not isinstance(killed.value, StartCrashed)  # by somebody, or for want of memory
    with TritonServer(settings) as server:
        wait_until(lambda: "flow weights: begins" in settings.log_path.read_text())
        os.kill(server.pid, signal.SIGABRT)
        with pytest.raises(StartCrashed, match=r"ended at start \(signal 6\)"):
            server.wait_ready()


def test_a_model_that_fails_is_named_with_its_step(tmp_path: Path) -> None:
    with TritonServer(loading_settings(tmp_path, "fails")) as server:
        first, model, *_ = why(server).splitlines()
    assert "failed to load: Internal: FileNotFoundError: flow.safetensors is not there" in first
    assert model.startswith("  cosyvoice2: failed in the step flow weights; examine: tritone doc")


def test_a_patience_that_is_no_number(tmp_path: Path) -> None:
    settings = loading_settings(tmp_path, "fails", TRITONE_LOAD_PATIENCE="long")
    with TritonServer(settings) as server:
        assert "TRITONE_LOAD_PATIENCE is 'long'; it must be a number above 0" in why(server)


def test_every_model_says_its_steps(server: TritonServer) -> None:
    log = server.settings.log_path.read_text().splitlines()
    assert not states(log), "all steps are done"
    done = "\n".join(line for line in log if " done in " in line)
    for model, last in {
        "frontend": "text warm-up",
        "tensorrt_llm": "LLM warm-up",
        "token2wav": "flow warm-up",
        "vocoder": "vocoder warm-up",
        "cosyvoice2": "config",
    }.items():
        assert f"load {model}, config: done" in done
        assert f"load {model}, {last}: done" in done


def test_no_model_loads_a_library_that_it_does_not_use(server: TritonServer) -> None:
    libraries = {"libtorch_cpu", "onnxruntime"}
    loaded: dict[str, set[str]] = {}
    for process in psutil.Process(server.pid).children(recursive=True):
        model = re.search(r"/(\w+)/1/model\.py", " ".join(process.cmdline()))
        if model:
            maps = " ".join(region.path for region in process.memory_maps())
            loaded[model[1]] = {library for library in libraries if library in maps}
    assert loaded == {
        "cosyvoice2": set(),
        "cosyvoice2_unary": set(),
        "frontend": {"onnxruntime"},
        "tensorrt_llm": {"onnxruntime"},
        "token2wav": {"libtorch_cpu"},
        "vocoder": {"libtorch_cpu"},
    }

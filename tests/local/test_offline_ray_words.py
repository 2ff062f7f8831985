"""What `tritone offline --ray` says: of its options, and of a worker's death."""

import socket
import sys
from pathlib import Path

import pytest
from fake_ray import FakeRay

from tritone import cli
from tritone.errors import EnvironmentProblem, InvalidRequest
from tritone.local.offline.cluster import connected, import_ray
from tritone.local.offline.crew import cause_of

ENDED = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\n"
    "The actor is dead. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly "
    "exits. End of file. Some common causes include: (1) the OOM killer"
)
RAISED = (
    "The actor died because of an error raised in its creation task, ray::Worker()\n  File x\n"
    "ModuleNotFoundError: No module named 'tritone'\n"
)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            ENDED,
            "The actor died unexpectedly before finishing this task. Worker unexpectedly exits. "
            "End of file.",
        ),
        (
            RAISED,
            "The actor died because of an error raised in its creation task: "
            "ModuleNotFoundError: No module named 'tritone'",
        ),
        ("Task was killed as memory was low.\nMore.", "Task was killed as memory was low."),
        ("", "RuntimeError"),
    ],
)
def test_a_death_has_its_cause_in_one_line(message: str, cause: str) -> None:
    assert cause_of(RuntimeError(message)) == cause


@pytest.mark.parametrize("address", ["", "ray://head:10001", "head", "head:", "http://head:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidRequest, match=r"--ray: is .*; it must be local, auto or HOST:PORT"):
        import_ray(address)


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'tritone\[ray\]'"):
        import_ray("auto")


def test_a_head_that_does_not_answer_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with (
        pytest.raises(EnvironmentProblem, match=f"--ray: no cluster at {address}: .*refused"),
        connected(FakeRay(), address),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "2"], "--workers goes with --ray"),
        (["--cores-per-worker", "2"], "--cores-per-worker goes with --ray"),
        (["--out", "s3://bucket/x"], "--out: s3://bucket/x is no folder; a URL goes with --ray"),
        (["--ray", "local", "--workers", "0"], "--workers is 0; it must be at least 1"),
        (["--ray", "local", "--tries", "0"], "--tries is 0; it must be at least 1"),
        (["--ray", "somewhere"], "error: --ray: is 'somewhere'; it must be local"),
    ],
)
def test_what_does_not_fit_together_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    given = ["--model", str(tmp_path), "--manifest", str(tmp_path / "m"), "--out", str(tmp_path)]
    assert cli.main(["offline", *given, *options]) == 2
    assert words in capsys.readouterr().err

"""The watchdog of loading: late steps, their stacks, and deadlines."""

import ctypes
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tritone.loading import catalogue, watchdog
from tritone.loading.steps import Loader, Report, step
from tritone.loading.summary import Summary

LATE = 0.01
"""Patience that makes the shortest limit, 10 s, a tenth of a second."""


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "stacks").open("w+b") as file:
        yield file


def written(stacks: IO[bytes]) -> str:
    return Path(stacks.name).read_text()


def a_disk_that_does_not_answer(seconds: float) -> None:
    time.sleep(seconds)


def test_a_late_step_is_named_with_its_stacks_and_goes_on(stacks):
    reports: list[Report] = []
    loader = Loader("frontend", reports.append, patience=LATE, stacks_to=stacks.fileno())
    with loader, step("config"):
        a_disk_that_does_not_answer(0.9)
    first, *late, last = reports
    assert (first.kind, last.kind) == ("begins", "done") and {r.kind for r in late} == {"late"}
    # limits of 0.1 s, then 0.2 s and 0.4 s later; a busy machine skips none, but is slow
    for report, after in zip(late, (0.1, 0.3, 0.7), strict=False):
        assert report.seconds >= after
    assert reports[1].cause == catalogue.STEPS["config"].cause
    assert reports[1].doctor == "python scripts/doctor.py --only model.files"
    assert written(stacks).count("in a_disk_that_does_not_answer") == len(late) >= 2


def test_what_ends_in_time_is_left_alone(stacks):
    reports: list[Report] = []
    with Loader("frontend", reports.append, patience=0.05, stacks_to=stacks.fileno()):
        for _ in range(3):
            with step("config"):  # its limit is 0.5 s
                time.sleep(0.2)
        time.sleep(0.6)  # between steps nothing is late
    time.sleep(0.6)
    assert {r.kind for r in reports} == {"begins", "done"} and not written(stacks)


def test_the_time_of_the_outer_step_begins_anew_after_an_inner_one(stacks):
    reports: list[Report] = []
    loader = Loader("flow", reports.append, patience=LATE, stacks_to=stacks.fileno())
    with loader, step("flow placement"):  # its limit is 0.6 s
        for _ in range(4):
            with step("flow plan"):
                time.sleep(0.2)
    assert "late" not in {r.kind for r in reports} and reports[-1].seconds > 0.6


def test_native_code_that_keeps_the_lock_shows_its_stacks_too(stacks, monkeypatch):
    monkeypatch.setattr(watchdog, "_GRACE_S", 0.1)
    hold_the_lock = ctypes.PyDLL(None).usleep
    loader = Loader("frontend", lambda report: None, patience=LATE, stacks_to=stacks.fileno())
    with loader, step("config"):
        hold_the_lock(500_000)
    assert written(stacks).startswith("Timeout (0:00:00.2")
    assert "test_native_code_that_keeps_the_lock" in written(stacks)


@pytest.mark.parametrize("work", ["time.sleep(30)", "ctypes.PyDLL(None).sleep(30)"])
def test_a_deadline_ends_the_process(work):
    code = (
        "import ctypes, time\n"
        "from tritone.loading import watchdog\n"
        "from tritone.loading.lines import line\n"
        "from tritone.loading.steps import Loader, step\n"
        "watchdog._GRACE_S = 0.3\n"
        "report = lambda r: print(line(r), flush=True)\n"
        "with Loader('frontend', report, deadline_s=0.2), step('config'):\n"
        f"    {work}\n"
    )
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1 and time.monotonic() - began < 10
    assert 'File "<string>", line 8 in <module>' in ended.stderr
    if work.startswith("time"):
        assert "load frontend, config: late" in ended.stdout
        assert "it took longer than the deadline of 0.2 s" in ended.stderr


def test_a_summary_marks_what_was_late(tmp_path, stacks):
    summary = Summary(tmp_path)
    with Loader("local", summary.add, patience=LATE, stacks_to=stacks.fileno()), step("config"):
        time.sleep(0.2)
    assert summary.table().splitlines()[1].startswith("config (late)")
    assert summary.plain()["late"] == ["config"]

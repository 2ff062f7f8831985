"""The watchdog of loading: late steps, their stacks, and deadlines."""

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from waiting import HANG_S, Clock, wait_until

from tritone.loading import catalogue, watchdog
from tritone.loading.reports import Summary
from tritone.loading.steps import Loader, step

pytestmark = pytest.mark.slow


class WatchedClock(Clock):
    """Counts the watchdog's looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __call__(self) -> float:
        self.looks += threading.current_thread().name == "watchdog"
        return self.now


class Watched:
    """A loader under such a clock, its reports, and the stacks that it writes."""

    def __init__(self, model: str, stacks: IO[bytes], **options: float) -> None:
        self.clock, self.reports, self.path = WatchedClock(), [], Path(stacks.name)
        self.loader = Loader(model, self.reports.append, clock=self.clock, **options)

    def move(self, seconds: float) -> None:
        """The clock; the watchdog has seen it and done what it does then."""
        self.clock.move(seconds)
        for _ in range(2):  # by its second look it has done what the first one made it do
            seen = self.clock.looks
            wait_until(lambda seen=seen: self._look() > seen)

    def _look(self) -> int:
        with self.loader._watchdog._changed:
            self.loader._watchdog._changed.notify_all()
        return self.clock.looks

    @property
    def stacks(self) -> str:
        return self.path.read_text()

    @property
    def kinds(self) -> list[str]:
        return [report.kind for report in self.reports]


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[bytes]]:
    """A file for them. faulthandler's own timer, which has a clock of its own, is far away."""
    monkeypatch.setattr(watchdog, "_GRACE_S", 1000.0)
    with (tmp_path / "stacks").open("w+b") as file:
        monkeypatch.setattr(watchdog, "_STDERR", file.fileno())
        yield file


def test_a_late_step_is_named_with_its_stacks_and_goes_on(stacks):
    watched = Watched("frontend", stacks)

    def a_disk_that_does_not_answer() -> None:
        for seconds in (9.0, 1.0, 19.0, 1.0, 40.0):
            watched.move(seconds)

    with watched.loader, step("config"):  # its limit is 10 s
        a_disk_that_does_not_answer()
    assert watched.kinds == ["begins", "late", "late", "late", "done"]
    assert [report.seconds for report in watched.reports] == [0.0, 10.0, 30.0, 70.0, 70.0]
    assert watched.reports[1].cause == catalogue.STEPS["config"].cause
    assert watched.reports[1].doctor == "tritone doctor --only model.files"
    assert watched.stacks.count("in a_disk_that_does_not_answer") == 3


def test_what_ends_in_time_is_left_alone(stacks):
    watched = Watched("frontend", stacks)
    with watched.loader:
        for _ in range(3):
            with step("config"):  # its limit is 10 s
                watched.move(9.9)
        watched.move(1000.0)  # between steps nothing is late
        with step("config"):
            watched.move(9.9)
    assert watched.kinds == ["begins", "done"] * 4 and not watched.stacks


def test_a_patient_loader_waits_longer(stacks):
    watched = Watched("frontend", stacks, patience=3.0)
    with watched.loader, step("config"):
        watched.move(29.9)
        assert watched.kinds == ["begins"]
        watched.move(0.1)
    assert watched.kinds == ["begins", "late", "done"]


def test_the_time_of_the_outer_step_begins_anew_after_an_inner_one(stacks):
    watched = Watched("flow", stacks)
    with watched.loader, step("flow placement"):  # its limit is 60 s
        for _ in range(4):
            with step("flow plan"):
                watched.move(20.0)
        watched.move(59.9)
        assert "late" not in watched.kinds
        watched.move(0.1)
    assert watched.kinds.count("late") == 1 and watched.reports[-1].seconds == 140.0


def test_native_code_that_keeps_the_lock_shows_its_stacks_too(stacks, monkeypatch):
    """What is left then is faulthandler's timer: the watchdog's own clock stands."""
    monkeypatch.setattr(watchdog, "_GRACE_S", 0.1)
    hold_the_lock = ctypes.PyDLL(None).usleep
    watched = Watched("frontend", stacks, patience=0.01)
    with watched.loader, step("config"):
        wait_until(lambda: hold_the_lock(300_000) or watched.stacks)
    assert watched.stacks.startswith("Timeout (0:00:00.2")
    assert "test_native_code_that_keeps_the_lock" in watched.stacks


OTHER_TIMER = "faulthandler.dump_traceback_later"


@pytest.mark.parametrize(
    ("other_timer", "work"),
    [
        ("lambda *args, **kwargs: None", "time.sleep(1000)"),  # or it may end the process first
        (OTHER_TIMER, "ctypes.PyDLL(None).sleep(1000)"),
    ],
)
def test_a_deadline_ends_the_process(other_timer, work):
    code = (
        "import ctypes, faulthandler, time\n"
        f"{OTHER_TIMER} = {other_timer}\n"
        "from tritone.loading import watchdog\n"
        "from tritone.loading.reports import line\n"
        "from tritone.loading.steps import Loader, step\n"
        "watchdog._GRACE_S = 0.3\n"
        "report = lambda r: print(line(r), flush=True)\n"
        "with Loader('frontend', report, deadline_s=1.0), step('config'):\n"
        f"    {work}\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert ended.returncode == 1
    assert 'File "<string>", line 9 in <module>' in ended.stderr
    if work.startswith("time"):
        assert "load frontend, config: late" in ended.stdout
        assert "it took longer than the deadline of 1 s" in ended.stderr


def test_a_summary_marks_what_was_late(tmp_path, stacks):
    watched, summary = Watched("local", stacks), Summary(tmp_path)
    with watched.loader, step("config"):
        watched.move(10.0)
    for report in watched.reports:
        summary.add(report)
    assert summary.table().splitlines()[1].startswith("config (late)")
    assert summary.plain()["late"] == ["config"]

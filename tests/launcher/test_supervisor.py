"""Starting again what failed: how often, after which pause, and when to give up."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from waiting import Clock

from tritone.errors import EnvironmentProblem, StartCrashed
from tritone.launcher import ServerSettings, supervisor
from tritone.launcher.model_watch import Loss
from tritone.launcher.restart_limit import HOUR_S, RestartLimit
from tritone.launcher.supervisor import End, Supervisor

KILLED = -9


def test_pauses_double_from_the_second_in_a_row() -> None:
    limit = RestartLimit(0, Clock())
    assert [limit.pause("x") for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_failure_after_a_quiet_time_is_the_first_again() -> None:
    clock = Clock()
    limit = RestartLimit(0, clock)
    assert [limit.pause("x"), limit.pause("x")] == [0, 0.5]
    clock.move(60)
    assert [limit.pause("x"), limit.pause("x")] == [0, 0.5]


def test_another_model_that_fails_begins_a_row_of_its_own() -> None:
    limit = RestartLimit(0, Clock())
    assert [limit.pause(model) for model in ("x", "y", "x", "y", "y")] == [0, 0, 0.5, 0.5, 1]


def test_there_are_only_so_many_within_any_hour() -> None:
    clock = Clock()
    limit = RestartLimit(3, clock)
    for what in "xyz":
        assert limit.pause(what) == 0
        clock.move(HOUR_S / 4)
    assert limit.pause("x") is None
    clock.move(HOUR_S / 4)  # the first is an hour ago
    assert limit.pause("x") == 0
    assert limit.pause("x") is None


class Script:
    """Servers as told: of each what it loses, in order, then the status that it ends with."""

    def __init__(self, *servers: tuple[list[Loss], int] | EnvironmentProblem) -> None:
        self._servers = deque(servers)
        self.reloads: deque[bool] = deque()
        self.events: list[str] = []
        self.restarts: list[int] = []

    def __call__(self, settings: ServerSettings, restarts: int, stopping: Event) -> "Script":
        self.restarts.append(restarts)
        return self

    def __enter__(self) -> "Script":
        self._now = self._servers.popleft()
        if isinstance(self._now, EnvironmentProblem):
            raise self._now
        self._losses, self.exit_status = deque(self._now[0]), self._now[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.events.append("gone")

    def wait_ready(self) -> float:
        return 1.0

    def next_loss(self) -> Loss | None:
        return self._losses.popleft() if self._losses else None

    def replace(self, model: str) -> bool:
        self.events.append(f"replace {model}")
        return self.reloads.popleft() if self.reloads else True

    def kill(self) -> None:
        self.events.append("kill")

    def log_tail(self) -> str:
        return "the end"


class Pauses(Event):
    """Says how long it was waited for, and waits no longer."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return self.is_set()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def run(script: Script, **changes: object) -> SimpleNamespace:
        monkeypatch.setattr(supervisor, "TritonServer", script)
        told: list[float] = []
        pauses = Pauses()
        settings = ServerSettings(public_model="voice", cache_dir=tmp_path, **changes)

        def ready(_: object, seconds: float) -> None:
            told.append(seconds)

        def event(name: str) -> Callable[[], None]:
            return lambda: script.events.append(name)

        end = Supervisor(settings, ready, event("lost"), event("well"), pauses).run()
        return SimpleNamespace(end=end, ready=len(told), pauses=pauses.seconds)

    return run


def test_a_server_that_ends_on_request_is_not_started_again(run) -> None:
    done = run(Script(([], 0)))
    assert (done.end, done.ready, done.pauses) == (End.ENDED, 1, [])


def test_a_lost_model_is_replaced_in_place(run) -> None:
    flow, llm = Loss("flow", "its process ended"), Loss("llm", "it stood still")
    script = Script(([flow, llm, flow], 0))
    done = run(script)
    assert script.events == [
        *("lost", "replace flow", "well"),
        *("lost", "replace llm", "well"),
        *("lost", "replace flow", "well"),
        *("lost", "gone"),
    ]
    assert (done.end, done.ready, done.pauses) == (End.ENDED, 1, [0.5])


def test_without_the_public_model_the_server_is_started_again(run, caplog) -> None:
    script = Script(([Loss("voice", "its process ended")], 0), ([], 0))
    done = run(script)
    assert script.events == ["lost", "kill", "gone", "lost", "gone"]
    assert (done.end, done.ready, script.restarts) == (End.ENDED, 2, [0, 1])
    assert "voice: its process ended" in caplog.text


def test_a_model_that_cannot_be_replaced_costs_the_server(run) -> None:
    script = Script(([Loss("flow", "its process ended")], 0), ([], 0))
    script.reloads.append(False)
    assert run(script).end is End.ENDED
    assert script.events == ["lost", "replace flow", "kill", "gone", "lost", "gone"]


def test_a_server_that_dies_is_started_again_and_one_that_cannot_start_too(run, caplog) -> None:
    script = Script(([], KILLED), EnvironmentProblem("no memory"), ([], 0))
    done = run(script)
    assert (done.end, done.ready, done.pauses) == (End.ENDED, 2, [0.5])
    assert "ended with status -9" in caplog.text and "no memory" in caplog.text


def test_the_first_start_is_not_tried_again(run) -> None:
    with pytest.raises(EnvironmentProblem, match="no memory"):
        run(Script(EnvironmentProblem("no memory")))


def test_a_first_start_that_crashes_is_tried_once_more(run, caplog) -> None:
    crash = StartCrashed("ended at start (signal 6)")
    script = Script(crash, ([], 0))
    assert run(script).end is End.ENDED and script.restarts == [0, 1]
    assert "signal 6" in caplog.text
    with pytest.raises(StartCrashed):
        run(Script(crash, crash, ([], 0)))
    with pytest.raises(EnvironmentProblem, match="no memory"):
        run(Script(crash, EnvironmentProblem("no memory"), ([], 0)))


def test_too_many_restarts_are_given_up(run, caplog) -> None:
    script = Script(*[([], KILLED)] * 4)
    done = run(script, restarts_per_hour=3)
    assert (done.end, done.ready, done.pauses) == (End.GIVEN_UP, 4, [0.5, 1])
    assert "failed after 3 restarts within an hour" in caplog.text

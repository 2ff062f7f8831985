"""Which of two servers serves, and when there is but one, or none."""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from waiting import HANG_S, wait_until

from tritone.errors import EnvironmentProblem
from tritone.launcher import ServerSettings, standby, supervisor
from tritone.launcher.launch import StopRequested
from tritone.launcher.model_watch import Loss
from tritone.launcher.standby import MARGIN, Standby
from tritone.launcher.supervisor import End

BYTES = 1000
FLOW, VOICE = Loss("flow", "its process ended"), Loss("voice", "its process ended")


class Server:
    """Loses what a test says, and ends with a status."""

    def __init__(self, mended: Event, stopping: Event) -> None:
        self._mended, self._stopping = mended, stopping
        self.losses = queue.SimpleQueue[Loss | int]()
        self.exit_status = 0

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_ready(self) -> float:
        return 1.0

    def next_loss(self) -> Loss | None:
        while True:
            if self._stopping.is_set():
                raise StopRequested
            try:
                loss = self.losses.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(loss, Loss):
                return loss
            self.exit_status = loss
            return None

    def replace(self, model: str) -> bool:
        return self._mended.wait(HANG_S)

    def kill(self) -> None:
        pass

    def log_tail(self) -> str:
        return "the end"


class Turns:
    """In the place of the forwarder: what it was told."""

    def __init__(self, listen: object, servers: object) -> None:
        self.told: list[str] = []

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def turn_to(self, server: int) -> None:
        self.told.append(f"to {server}")

    def keep(self, server: int) -> None:
        self.told.append(f"keep {server}")

    def leave(self, server: int) -> None:
        self.told.append(f"leave {server}")


class Running:
    """A pair that runs; `broken`: starts, counted from 0, that fail."""

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, pool: ThreadPoolExecutor, **options: object
    ) -> None:
        self.made: list[Server] = []
        self.mended = Event()
        self.announced: list[float] = []
        self._broken = options.pop("broken", ())
        self._starts = 0
        free = options.pop("free", MARGIN * BYTES)
        patch.setattr(supervisor, "TritonServer", self._start)
        patch.setattr(standby, "Forwarder", Turns)
        patch.setattr(standby, "_bytes_of", lambda _: BYTES)
        patch.setattr(standby.checks, "check_settings", lambda _: None)
        settings = ServerSettings(public_model="voice", cache_dir=folder, **options)
        self.pair = Standby(settings, lambda _: 0.5, self.announced.append, lambda: free)
        self.end: Future[End] = pool.submit(self.pair.run)

    def _start(self, settings: ServerSettings, restarts: int, stopping: Event) -> Server:
        number, self._starts = self._starts, self._starts + 1
        if number in self._broken:
            raise EnvironmentProblem(f"start {number} failed")
        self.made.append(Server(self.mended, stopping))
        return self.made[-1]

    @property
    def told(self) -> list[str]:
        return self.pair._forwarder.told

    def wait_told(self, *words: str) -> None:
        wait_until(lambda: self.told == list(words), lambda: self.told)

    def result(self) -> End:
        return self.end.result(HANG_S)


@pytest.fixture
def run(monkeypatch, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    with ThreadPoolExecutor(1) as pool:
        yield lambda **options: Running(tmp_path, monkeypatch, pool, **options)


def test_the_other_one_serves_at_once_and_the_first_stands_by_when_mended(run) -> None:
    both = run()
    both.wait_told("keep 0", "to 0", "keep 1")
    assert both.announced == [1.5], "once, when the first one was ready"
    both.made[0].losses.put(FLOW)
    both.wait_told("keep 0", "to 0", "keep 1", "leave 0", "to 1")
    both.mended.set()
    both.wait_told("keep 0", "to 0", "keep 1", "leave 0", "to 1", "keep 0")
    both.made[1].losses.put(VOICE)
    wait_until(lambda: both.told[6:] == ["leave 1", "to 0", "keep 1"], lambda: both.told)
    both.made[0].losses.put(0)
    assert both.result() is End.ENDED
    assert both.announced == [1.5]


def test_a_loss_of_the_one_that_stands_by_moves_only_its_own_connections(run) -> None:
    both = run()
    both.wait_told("keep 0", "to 0", "keep 1")
    both.mended.set()
    both.made[1].losses.put(FLOW)
    both.wait_told("keep 0", "to 0", "keep 1", "leave 1", "keep 1")
    both.made[0].losses.put(0)
    assert both.result() is End.ENDED


def test_where_both_fail_the_first_that_is_well_serves(run) -> None:
    both = run()
    both.wait_told("keep 0", "to 0", "keep 1")
    both.made[0].losses.put(FLOW)
    both.wait_told("keep 0", "to 0", "keep 1", "leave 0", "to 1")
    both.made[1].losses.put(VOICE)  # mended by a start, and the other one not yet
    wait_until(lambda: both.told[5:] == ["keep 1"], lambda: both.told)
    both.mended.set()
    wait_until(lambda: both.told[6:] == ["keep 0"], lambda: both.told)
    both.made[-1].losses.put(0)
    assert both.result() is End.ENDED


def test_without_room_there_is_one(run, caplog) -> None:
    one = run(free=MARGIN * BYTES - 1)
    wait_until(lambda: one.announced)
    one.made[0].losses.put(0)
    assert one.result() is End.ENDED
    assert len(one.made) == 1
    assert "no standby: " in caplog.text


def test_a_second_one_that_cannot_start_is_done_without(run, caplog) -> None:
    one = run(broken={1})
    wait_until(lambda: "start 1 failed" in caplog.text)
    one.made[0].losses.put(0)
    assert one.result() is End.ENDED


def test_a_first_one_that_cannot_start_is_an_error(run) -> None:
    with pytest.raises(EnvironmentProblem, match="start 0 failed"):
        run(broken={0}).result()


def test_it_is_given_up_when_both_are(run) -> None:
    both = run(restarts_per_hour=1, broken={2, 3})
    both.wait_told("keep 0", "to 0", "keep 1")
    for server in both.made:
        server.losses.put(-9)
    assert both.result() is End.GIVEN_UP

"""Turns at a busy stage go by how urgent they are."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from fake_stages import CONFIG, RULES, codes, one, request
from waiting import HANG_S

from tritone.synthesis import deadlines
from tritone.synthesis.deadlines import StageTurns, Turns
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.timing import Timing


class Stage:
    """Callers hold their turn until they are let go. now: of its clock."""

    def __init__(self, together: int) -> None:
        self.now = 0.0
        self.turns = Turns(together, lambda: self.now)
        self.served: list[float] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)

    def call(self, seconds_left: float) -> None:
        """Below zero: since it came, of one that does not play yet."""
        with self.turns.turn(seconds_left, begun=seconds_left >= 0):
            self.served.append(seconds_left)
            self.entered.release()
            assert self.leave.acquire(timeout=HANG_S)

    def queue(self, pool: ThreadPoolExecutor, deadlines: list[float]) -> None:
        """Callers that come one after the other while the stage is busy."""
        for deadline in deadlines:
            before = len(self.turns._waiting)
            pool.submit(self.call, deadline)
            while len(self.turns._waiting) == before:
                threading.Event().wait(0.001)

    def order(self, waiting: list[float], lasting: float = 0.0) -> list[float]:
        """In which order they are served. lasting: of each turn."""
        with ThreadPoolExecutor(1 + len(waiting)) as pool:
            pool.submit(self.call, 50.0)
            assert self.entered.acquire(timeout=HANG_S)
            self.queue(pool, waiting)
            for _ in waiting:
                self.now += lasting
                self.leave.release()
                assert self.entered.acquire(timeout=HANG_S)
            self.leave.release()
        return self.served[1:]


@pytest.mark.parametrize("together", [1, 2])
def test_the_nearest_deadline_goes_first(together: int) -> None:
    stage = Stage(together)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(together):
            pool.submit(stage.call, 50.0)
            assert stage.entered.acquire(timeout=HANG_S)
        stage.queue(pool, [40.0, 10.0, 30.0, 20.0])
        for _ in range(4):
            stage.leave.release()
            assert stage.entered.acquire(timeout=HANG_S)
        for _ in range(together):
            stage.leave.release()
    assert stage.served[together:] == [10.0, 20.0, 30.0, 40.0]


def test_a_first_packet_comes_before_whoever_has_audio_in_store() -> None:
    """But after those that are about to run dry."""
    order = Stage(1).order([0.8, -0.2, 0.05, 5.0, -0.4, 0.01])
    assert order == [0.01, 0.05, -0.4, -0.2, 0.8, 5.0]


def test_who_has_waited_a_second_for_a_first_packet_goes_before_all() -> None:
    assert Stage(1).order([0.05, -0.9, -1.2, 0.01, -1.1]) == [-1.2, -1.1, 0.01, 0.05, -0.9]


def test_who_waits_becomes_urgent() -> None:
    """Turns of 0.2 s: after two of them the one that had 0.8 s is near its end."""
    order = Stage(1).order([0.8, -0.5, -0.4, -0.3, -0.1], lasting=0.2)
    assert order.index(0.8) in (2, 3) and sorted(order[:2]) == [-0.5, -0.4]


def test_long_turns_make_a_stream_urgent_sooner() -> None:
    stage = Stage(1)
    for _ in range(50):
        with stage.turns.turn(1.0):
            stage.now += 1.0  # that is how long they last
    assert stage.order([2.5, -1.0, 9.0]) == [2.5, -1.0, 9.0]
    assert Stage(1).order([2.5, -1.0, 9.0]) == [-1.0, 2.5, 9.0]


def test_one_that_is_interrupted_leaves_no_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(1)

    class Interrupted(threading.Event):
        def acquire(self) -> bool:
            if self.is_set():
                raise KeyboardInterrupt
            self.set()
            return True

        release = threading.Event.clear

    ticket = deadlines._Ticket
    monkeypatch.setattr(deadlines, "_Ticket", lambda *given: ticket(*given, Interrupted()))
    with turns.turn(1.0), pytest.raises(KeyboardInterrupt), turns.turn(1.0):
        pass
    assert turns.idle and not turns.waiting


def test_a_caller_that_fails_gives_its_turn_back() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(KeyError), turns.turn(0.0):
            raise KeyError
    assert turns.idle
    with turns.turn(0.0):
        assert not turns.idle


def test_no_more_than_are_let_in_together() -> None:
    turns, inside, most = Turns(3), 0, 0
    counting, three = threading.Lock(), threading.Barrier(3)

    def call(number: int) -> None:
        nonlocal inside, most
        with turns.turn(number % 5):
            with counting:
                inside += 1
                most = max(most, inside)
            three.wait(HANG_S)  # they are in there together
            with counting:
                inside -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, range(60)))
    assert most == 3 and inside == 0


class Recorded(Turns):
    """Lets everybody in, and remembers how urgent they were."""

    def __init__(self) -> None:
        super().__init__(1)
        self.seconds: list[float] = []

    @contextmanager
    def turn(self, seconds_left: float, *, begun: bool = True) -> Iterator[None]:
        assert begun == (seconds_left >= 0)
        self.seconds.append(seconds_left)
        with super().turn(seconds_left, begun=begun):
            yield


def test_streams_say_when_their_playback_runs_dry() -> None:
    turns, moments = StageTurns(), itertools.count(step=1e-6)
    timing = Timing(CONFIG.sample_rate, lambda: next(moments))
    turns.flow, turns.vocoder = flow, vocoder = Recorded(), Recorded()
    stages = one(codes(70))
    chunks = list(synthesize(request(), stages, RULES, Settings(), turns=turns, timing=timing))
    assert len(flow.seconds) == len(stages.flows[0].tokens) == 3
    assert len(vocoder.seconds) == len(chunks) == 4
    early = [flow.seconds[0], vocoder.seconds[0]]  # nothing is out yet
    assert early == pytest.approx([0, 0], abs=1e-2) and max(early) < 0
    sent = sum(len(chunk.samples) for chunk in chunks[:-1]) / CONFIG.sample_rate
    assert vocoder.seconds[-1] == pytest.approx(sent, abs=1e-2)

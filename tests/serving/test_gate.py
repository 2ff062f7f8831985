"""The gate between starting decoupled calls and waiting for their responses."""

import sys
import threading
from types import ModuleType

import pytest
from waiting import HANG_S


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("pb_utils"))
    from tritone.serving.decoupled_call import CallGate

    return CallGate()


def run(target) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_many_may_wait_at_once(gate) -> None:
    everybody = threading.Barrier(3)

    def receive() -> None:
        with gate.receiving():
            everybody.wait(timeout=HANG_S)

    threads = [run(receive) for _ in range(3)]
    for thread in threads:
        thread.join(timeout=HANG_S)
    assert not any(thread.is_alive() for thread in threads) and not everybody.broken


def test_a_start_waits_for_receivers_and_goes_before_new_ones(gate) -> None:
    order, received, may_return = [], threading.Event(), threading.Event()

    def receive() -> None:
        with gate.receiving():
            received.set()
            may_return.wait(timeout=HANG_S)
            order.append("received")

    def start() -> None:
        with gate.starting():
            order.append("started")

    def receive_again() -> None:
        with gate.receiving():
            order.append("received again")

    first = run(receive)
    assert received.wait(timeout=HANG_S)
    starter = run(start)
    while not gate._starters:  # until the starter stands in line
        threading.Event().wait(0.001)
    second = run(receive_again)
    assert order == []
    may_return.set()
    for thread in (first, starter, second):
        thread.join(timeout=HANG_S)
    assert order == ["received", "started", "received again"]


def test_an_error_inside_opens_the_gate_again(gate) -> None:
    for part in (gate.receiving, gate.starting):
        with pytest.raises(RuntimeError), part():
            raise RuntimeError
    with gate.starting():
        pass
    with gate.receiving():
        pass


def test_a_start_that_never_comes_back_holds_nobody_up_once_it_is_forgotten(gate) -> None:
    lost, started, order = threading.Event(), threading.Event(), []

    def start() -> None:
        with gate.starting():
            started.set()
            lost.wait(timeout=HANG_S)

    def receive() -> None:
        with gate.receiving():
            order.append("received")

    stuck = run(start)
    assert started.wait(timeout=HANG_S)
    gate.forget()
    with gate.starting():
        lost.set()
        stuck.join(timeout=HANG_S)
        reader = run(receive)
        reader.join(timeout=0.05)
        order.append("started")  # whoever was forgotten has opened nothing
    reader.join(timeout=HANG_S)
    assert order == ["started", "received"]

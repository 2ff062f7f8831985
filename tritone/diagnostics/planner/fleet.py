"""A fleet of equal machines under a demand, event by event."""

from collections import deque
from dataclasses import dataclass
from math import inf, isinf
from operator import attrgetter

import numpy as np
import simpy

from tritone.diagnostics.planner.demand import Demand
from tritone.diagnostics.planner.machine import Machine, Process, Speech
from tritone.diagnostics.planner.measured import Measured
from tritone.diagnostics.planner.scaling import Autoscaling, Wanted


@dataclass(frozen=True)
class Failures:
    """Seconds that a machine runs between failures, and until it serves again: means of exponential
    times."""

    between_s: float
    repair_s: float


@dataclass(frozen=True)
class Fleet:
    """machines: at the begin. limit: streams that one takes. waiting_s: how long a speech waits for
    a place before it is refused."""

    measured: Measured
    machines: int
    limit: int
    waiting_s: float = 0.0
    failures: Failures | None = None
    autoscaling: Autoscaling | None = None


@dataclass(frozen=True)
class Outcome:
    """Of the speeches that are judged.

    first_packets, spoken: seconds from the arrival to the first packet and to the last, of those
    that were spoken; of one that broke, to those of the attempt that succeeded. refused, dry,
    broken: shares of all. use: of all places, on average. failures: of machines. most: machines at
    a time. machine_s: machine-seconds, from the begin. lasted_s: what was simulated.
    """

    first_packets: tuple[float, ...]
    spoken: tuple[float, ...]
    refused: float
    dry: float
    broken: float
    use: float
    failures: int
    most: int
    machine_s: float
    lasted_s: float

    def first_packet(self, share: float) -> float:
        """Seconds within which this share of them had it; infinite where none was spoken."""
        return float(np.quantile(self.first_packets, share)) if self.first_packets else inf


def simulate(fleet: Fleet, demand: Demand, seed: int = 0) -> Outcome:
    """The same seed gives the same outcome."""
    return _Run(fleet, seed).of(demand)


class _Run:
    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.env, self.fleet = simpy.Environment(), fleet
        self.rng = np.random.default_rng(seed)
        self.waiting: deque[Speech] = deque()
        self.machines: list[Machine] = []
        self.leaving: list[Machine] = []
        self.starting = self.failures = self.most = 0
        self.busy = self.paid = 0.0  # of machines that have left
        self.open = 0  # speeches that are neither spoken nor refused
        self.over = self.env.event()

    def of(self, demand: Demand) -> Outcome:
        for _ in range(self.fleet.machines):
            self._begin()
        speeches = [
            Speech(audio, at) for at, audio in zip(demand.arrivals, demand.audio, strict=True)
        ]
        self.open = len(speeches)
        self.env.process(self._arrive(speeches))
        if self.fleet.autoscaling:
            self.env.process(self._scale(self.fleet.autoscaling))
        self.env.run(until=self.over)
        for machine in [*self.machines, *self.leaving]:
            self._end(machine)
        return self._outcome(speeches[demand.filling :])

    def _outcome(self, speeches: list[Speech]) -> Outcome:
        spoken = [speech for speech in speeches if not speech.refused]
        return Outcome(
            first_packets=tuple(speech.heard - speech.arrived for speech in spoken),
            spoken=tuple(speech.ended - speech.arrived for speech in spoken),
            refused=1 - len(spoken) / len(speeches),
            dry=sum(speech.is_dry for speech in spoken) / len(speeches),
            broken=sum(speech.broken > 0 for speech in speeches) / len(speeches),
            use=self.busy / (self.paid * self.fleet.limit),
            failures=self.failures,
            most=self.most,
            machine_s=self.paid,
            lasted_s=self.env.now,
        )

    def _arrive(self, speeches: list[Speech]) -> Process:
        for speech in speeches:
            yield self.env.timeout(max(0.0, speech.arrived - self.env.now))
            self._ask(speech)

    def _ask(self, speech: Speech) -> None:
        """The least busy machine takes it, or it waits, or is refused."""
        machine = self._least_busy()
        if machine.load < self.fleet.limit:
            machine.take(speech)
        elif self.fleet.waiting_s:
            speech.waits += 1
            self.waiting.append(speech)
            if not isinf(self.fleet.waiting_s):
                self.env.process(self._lose_patience(speech, speech.waits))
        else:
            self._settle(speech, refused=True)

    def _lose_patience(self, speech: Speech, wait: int) -> Process:
        """wait: which of its waits this is; one that broke may wait again."""
        yield self.env.timeout(self.fleet.waiting_s)
        if speech.waits == wait and any(speech is other for other in self.waiting):
            self.waiting = deque(other for other in self.waiting if other is not speech)
            self._settle(speech, refused=True)

    def _settle(self, speech: Speech, *, refused: bool = False) -> None:
        speech.refused = refused
        self.open -= 1
        if not self.open:
            self.over.succeed()
        self._take_waiting()

    def _take_waiting(self) -> None:
        while self.waiting and self._least_busy().load < self.fleet.limit:
            self._ask(self.waiting.popleft())

    def _least_busy(self) -> Machine:
        return min(self.machines, key=attrgetter("load"))

    def _begin(self) -> None:
        """One machine more, which serves at once."""
        measured, rng = self.fleet.measured, self.rng
        machine = Machine(
            self.env,
            measured.speed,
            lambda streams: measured.first_packet(streams, rng.random()),
            self._settle,
        )
        self.machines.append(machine)
        self.most = max(self.most, len(self.machines))
        if self.fleet.failures:
            self.env.process(self._break(machine, self.fleet.failures))
        self._take_waiting()

    def _end(self, machine: Machine) -> None:
        self.busy += machine.busy
        self.paid += self.env.now - machine.began

    def _break(self, machine: Machine, failures: Failures) -> Process:
        while True:
            yield self.env.timeout(self.rng.exponential(failures.between_s))
            if machine not in self.machines:
                return
            self.failures += 1
            for speech in machine.fail():
                speech.broken += 1
                self._ask(speech)
            yield self.env.timeout(self.rng.exponential(failures.repair_s))
            if machine in self.machines:
                machine.open()
                self._take_waiting()

    def _scale(self, rule: Autoscaling) -> Process:
        wanted = Wanted(rule)
        while True:
            yield self.env.timeout(rule.every_s)
            gone = [machine for machine in self.leaving if not machine.streams]
            self.leaving = [machine for machine in self.leaving if machine.streams]
            for machine in gone:
                self._end(machine)
            streams = sum(machine.streams for machine in self.machines) + len(self.waiting)
            now = len(self.machines) + self.starting
            change = wanted.at(self.env.now, streams / self.fleet.limit, now) - now
            for _ in range(change):
                self.env.process(self._start(rule))
            for _ in range(min(-change, len(self.machines) - rule.least)):
                least = self._least_busy()
                self.machines.remove(least)
                least.close()
                self.leaving.append(least)

    def _start(self, rule: Autoscaling) -> Process:
        self.starting += 1
        yield self.env.timeout(rule.delay_s)
        self.starting -= 1
        self._begin()

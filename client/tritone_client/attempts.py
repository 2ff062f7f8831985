"""How often and when a speech is asked for, and what of it is given away; no I/O, so that both
clients share it.

A speech that was lost in the middle is asked for anew, as it was, with its seed, and what had been
given away is left out: the same seed gives the same speech tokens on every server of one model.
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from tritone_client.request import Utterance
from tritone_client.response import Packet, SpeechError
from tritone_client.servers import Servers, back_off

ASK_TIMEOUT = 10.0  # seconds for one question about the server's models
FADE = 240  # samples, 10 ms, over which a speech goes over into the one that is made anew


@dataclass(frozen=True)
class Patience:
    """What a client puts up with. retries: times that a request is asked again, None for each
    further server once. resume: also after some of it was given away, with one retry at least where
    `retries` is None."""

    retries: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"retries: is {self.retries}; it must be at least 0")

    def seeded(self, utterance: Utterance) -> Utterance:
        """What can be asked for twice: without a seed each is another speech."""
        if not self.resume or utterance.seed is not None:
            return utterance
        return replace(utterance, seed=secrets.randbits(32))


class Joint:
    """What of a speech was given away, however often it is begun.

    The last samples that came are kept until more come: in bfloat16 two runs of a request differ in
    phase, and are faded into each other there. Where they are the same, nothing is changed.
    """

    def __init__(self, keep: int) -> None:
        self.given = 0  # samples
        self._keep, self._at = keep, 0
        self._kept = np.zeros(0, np.float32)  # those that follow on what was given
        self._timing: dict[str, object] | None = None

    def begin(self) -> None:
        """What comes now is the speech from its first sample on."""
        self._at = 0

    def take(self, packet: Packet) -> Packet | None:
        """What can be given away; None for nothing."""
        self._timing = packet.timing or self._timing
        samples = packet.samples
        new = samples[max(0, self.given - self._at) :]
        place = max(0, self._at - self.given)  # of it, in what is kept
        self._at += len(samples)
        ready = self._joined(new, place) if len(new) else new
        self.given += len(ready)
        return replace(packet, samples=ready) if len(ready) or not len(samples) else None

    def rest(self) -> Packet | None:
        """What is kept, at the good end."""
        kept, self._kept = self._kept, self._kept[:0]
        self.given += len(kept)
        return Packet(kept, self._timing) if len(kept) else None

    def _joined(self, new: NDArray[np.float32], place: int) -> NDArray[np.float32]:
        old = self._kept[place : place + len(new)]
        share = (place + 1 + np.arange(len(old), dtype=np.float32)) / (len(self._kept) + 1)
        faded = old + share * (new[: len(old)] - old)
        parts = self._kept[:place], faded, self._kept[place + len(old) :], new[len(old) :]
        every: NDArray[np.float32] = np.concatenate(parts)
        ready = max(0, len(every) - self._keep)
        self._kept = every[ready:]
        return every[:ready]


@contextmanager
def question(left: float = inf) -> Iterator[float]:
    """Of a server; gives the seconds for its answer. One that is silent is not there, as long as
    there is time for others. left: seconds until there is none."""
    limit = max(0.0, min(ASK_TIMEOUT, left))
    try:
        yield limit
    except SpeechError as error:
        if error.status == "DEADLINE_EXCEEDED" and limit == ASK_TIMEOUT:
            raise SpeechError("UNAVAILABLE", f"no answer within {limit:g} s") from error
        raise


class Attempts:
    """Those of one speech, or of one question. over: whether it has ended well.

    pause: seconds until the next one. timeout: seconds for all of them, pauses included.
    on_retry: called with the error after which it is asked again.
    """

    def __init__(
        self,
        servers: Servers,
        patience: Patience,
        timeout: float | None = None,
        on_retry: Callable[[SpeechError], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._servers, self._timeout, self._on_retry = servers, timeout, on_retry
        self._clock, self._draw, self._resume = clock, draw, patience.resume
        given = patience.retries
        least = 1 if patience.resume else 0
        self._retries = max(least, len(servers) - 1) if given is None else given
        self.began, self.pause, self.over = clock(), 0.0, False
        self.joint = Joint(FADE if patience.resume else 0)
        self._failures = self._given = 0  # since more was given away, and how much that was
        self._error: SpeechError | None = None  # the last one

    @property
    def left(self) -> float:
        """Seconds until the time for all of them is over."""
        return inf if self._timeout is None else self.began + self._timeout - self._clock()

    def pauses(self) -> Iterator[float]:
        """Seconds to wait before the next attempt, one after the other: another caller may have
        been told meanwhile when a server wants to be asked again. That is looked at once; who
        waited for each of many would never ask. Raises the last error where it would be too late.
        """
        yield self.pause
        if self.pause and (longer := self._hint()):
            self._check_time(longer)
            yield longer

    @contextmanager
    def next(self) -> Iterator[int]:
        """The server that is asked now. A SpeechError that may pass ends the context quietly, as
        long as there is to be another attempt."""
        self.joint.begin()
        try:
            yield self._servers.choose()
        except SpeechError as error:
            self._fail(error)
            self._on_retry(error)
        else:
            self.over = True

    def _fail(self, error: SpeechError) -> None:
        """Raises the error where that was the last attempt."""
        if self.joint.given > self._given:
            self._given, self._failures = self.joint.given, 0
        self._failures += 1
        lost = bool(self.joint.given) and not self._resume
        if lost or not error.passes or self._failures > self._retries:
            raise error
        asked = self._failures - len(self._servers)  # all of them, and how often since
        own = back_off(asked + 1, self._draw) if asked >= 0 else 0.0
        self.pause, self._error = max(own, self._hint()), error
        self._check_time(self.pause)

    def _hint(self) -> float:
        """Seconds until a server wants to be asked; not all callers at one instant."""
        return self._servers.pause() * (1 + 0.5 * self._draw())

    def _check_time(self, pause: float) -> None:
        if self._error and pause > self.left:
            raise self._error

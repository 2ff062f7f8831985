"""The timing record: its parts add up, and its playback is what a client would measure."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fake_stages import RULES, FakeStages, codes, one, request, segment
from waiting import HANG_S, Clock

from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.timing import PARTS, Playback, Timing
from tritone_client.metrics import StreamMeter

RATE = 24000
SECONDS = {"prepare": 0.05, "tokens": 0.002, "flow": 0.06, "vocoder": 0.03}


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Staged(Timing):
    """A record whose clock the stages move, one at a time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._changed, self._waits = threading.Condition(), False
        super().__init__(RATE, self.clock)

    @contextmanager
    def waiting_for_frames(self) -> Iterator[None]:
        with super().waiting_for_frames():
            self._now(waits=True)
            try:
                yield
            finally:
                self._now(waits=False)

    def _now(self, *, waits: bool) -> None:
        with self._changed:
            self._waits = waits
            self._changed.notify_all()

    def spend(self, seconds: float, when: Callable[[], bool] = lambda: True) -> None:
        """Of a thread that does not make audio: while the one that does waits for mel frames."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waits and when(), HANG_S)
            self.clock.move(seconds)

    def of(self, stages: FakeStages, *, streaming: bool = True) -> dict:
        """Speak, and return the last chunk's record."""
        asked = request(streaming=streaming)
        chunks = list(synthesize(asked, stages, RULES, Settings(), timing=self))
        return chunks[-1].timing


def test_the_first_parts_end_with_their_events(clock: Clock) -> None:
    timing = Timing(RATE, clock)
    for event, seconds in (("started", 1), ("frontend", 2), ("first_token", 3), ("first_hop", 4)):
        clock.now += seconds
        timing.mark(event)
    clock.now += 10
    timing.mark("first_token")  # of a second generation: the first one counts
    assert list(timing.parts().values())[:4] == [1, 2, 3, 4]
    assert tuple(timing.parts()) == PARTS


def test_a_request_that_ends_early_has_no_later_parts(clock: Clock) -> None:
    timing = Timing(RATE, clock)
    clock.now += 1
    timing.mark("started")
    clock.now += 1
    assert timing.parts() == {**dict.fromkeys(PARTS, 0.0), "queue": 1.0}
    assert timing.record()["total_s"] is None


def test_waiting_for_frames_is_the_flows_or_the_language_models(clock: Clock) -> None:
    timing = Timing(RATE, clock)
    with timing.waiting_for_frames():
        clock.now += 1  # no token yet: not a part of its own
        with timing.flowing():
            clock.now += 2
        clock.now += 4
    assert timing.parts()["flow"] == 2
    assert timing.parts()["tokens"] == 4


def test_a_flow_that_goes_on_is_counted_up_to_now(clock: Clock) -> None:
    timing = Timing(RATE, clock)
    with timing.flowing():
        with timing.waiting_for_frames():
            clock.now += 2
        with timing.spending("vocoder"):
            clock.now += 3
        with timing.waiting_for_frames():
            clock.now += 1
    assert timing.parts()["flow"] == 3
    assert timing.parts()["vocoder"] == 3
    assert timing.record()["flow_busy_s"] == 6


@pytest.mark.parametrize("streaming", [True, False])
def test_parts_are_where_the_time_went_and_add_up(streaming: bool) -> None:
    timing = Staged()

    def at_work(event: str) -> None:
        """Every stage takes its time."""
        stage = event.split()[0]
        if stage == "vocoder":
            timing.clock.move(SECONDS[stage])
        elif stage in SECONDS:
            timing.spend(SECONDS[stage])

    stages = one(codes(100), fail=at_work)
    record = timing.of(stages, streaming=streaming)
    parts, calls = record["parts_s"], [event.split()[0] for event in stages.events]
    spent = {stage: calls.count(stage) * seconds for stage, seconds in SECONDS.items()}
    assert record["total_s"] == pytest.approx(sum(spent.values()), abs=1e-4)
    assert sum(parts.values()) == pytest.approx(record["total_s"], abs=1e-9)
    assert parts["frontend"] == spent["prepare"] and parts["queue"] == parts["send"] == 0
    assert parts["vocoder"] == pytest.approx(spent["vocoder"], abs=1e-9)
    assert parts["flow"] > spent["flow"] - 1e-4  # the language model may work at that time
    assert parts["prefill"] >= SECONDS["tokens"]
    assert parts["prefill"] + parts["first_tokens"] > 28 * SECONDS["tokens"] - 1e-4
    if not streaming:  # one call after the other
        before = parts["prefill"] + parts["first_tokens"]
        assert before == pytest.approx(spent["tokens"], abs=1e-9)
        assert parts["tokens"] == 0


def test_a_slow_language_model_shows_as_tokens() -> None:
    """The second segment's tokens come when all audio of the first has been made."""
    timing, late = Staged(), iter([0.3])

    def fail(event: str) -> None:
        if event == "tokens of 1":
            timing.spend(next(late, 0.0), when=lambda: "vocoder ends" in stages.events)

    stages = FakeStages([segment("one"), segment("two")], [codes(40)] * 2, fail=fail)
    record = timing.of(stages)
    assert record["total_s"] == 0.3
    assert record["parts_s"] == {**dict.fromkeys(PARTS, 0.0), "tokens": 0.3}


def test_playback_is_what_the_client_measures(clock: Clock) -> None:
    playback, meter = Playback(RATE), StreamMeter(RATE, clock)
    quiet, loud = np.zeros(2400, np.float32), np.full(24000, 0.1, np.float32)
    for wait, wave in ((0.5, quiet), (0.05, loud), (2.0, loud), (0.3, loud)):
        clock.now += wait
        playback.packet(clock.now - 100.0, wave)
        meter.packet(wave)
    heard = meter.finish()
    assert playback.first == pytest.approx(heard.first_packet_s)
    assert playback.first_audible == pytest.approx(heard.first_audible_s)
    assert playback.gaps == pytest.approx(heard.gaps_s)
    assert (playback.underruns, heard.underruns) == (1, 1)
    assert playback.dry == pytest.approx(heard.underrun_s) == pytest.approx(0.95)
    assert playback.audio == pytest.approx(heard.audio_s)


def test_playback_that_ran_dry_goes_on_from_there() -> None:
    playback, second = Playback(RATE), np.zeros(RATE, np.float32)
    assert playback.ahead(5.0) == 0.0
    playback.packet(1.0, second)
    assert playback.ahead(1.25) == 0.75
    assert playback.ahead(3.0) == -1.0
    playback.packet(3.0, second)
    assert playback.ahead(3.0) == 1.0
    assert (playback.underruns, playback.dry) == (1, 1.0)

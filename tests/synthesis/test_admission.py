"""Which streams are taken, and which are told to come again."""

import threading
from collections.abc import Callable

import pytest
from waiting import HANG_S, Clock, wait_until

from tritone.errors import Cancelled, Overloaded
from tritone.synthesis.admission import Admission, AdmissionLimits, Place
from tritone.synthesis.forecast import Forecast

UNLIMITED = AdmissionLimits(max_streams=0, max_first_audio_seconds=0, playback_reserve=0)


class Door:
    """An admission, with what it told."""

    def __init__(self, clock: Callable[[], float] | None = None, **limits: float) -> None:
        self.clock = Clock() if clock is None else clock
        self.counts: list[int] = []
        self.places: list[int] = []
        self.decisions: list[str] = []
        given = AdmissionLimits(**{**vars(UNLIMITED), **limits})
        self.admission = Admission(
            given, self.counts.append, self.decisions.append, self.clock, self.places.append
        )

    def speak(self, *, first: float, seconds: float, audio: float) -> None:
        """One stream alone."""
        place = self.admission.enter()
        self.admission.heard(place, first)
        self.clock.move(seconds)
        self.admission.leave(place, audio)


def test_a_limit_is_kept_and_every_change_is_told() -> None:
    door = Door(max_streams=2)
    places = [door.admission.enter() for _ in range(2)]
    with pytest.raises(Overloaded, match=r"2 streams are running, the limit; retry after 0\.1 s"):
        door.admission.enter()
    door.admission.leave(places[0], 0)
    door.admission.enter()
    assert door.counts == [1, 2, 1, 2]
    assert door.decisions == ["admitted", "admitted", "refused", "admitted"]


def test_without_limits_everybody_is_taken() -> None:
    door = Door()
    door.speak(first=9, seconds=100, audio=1)
    assert [door.admission.enter().beside for _ in range(100)] == list(range(100))


def test_a_stream_whose_first_audio_would_be_late_is_refused() -> None:
    door = Door(max_first_audio_seconds=0.25)
    for _ in range(20):
        door.speak(first=0.1, seconds=1, audio=10)
    door.admission.enter()  # alone: 0.1 s
    door.admission.enter()  # beside one: 0.2 s, as long as nothing else was seen
    problem = r"beside 2 streams the first audio would take 0\.30 s; the limit .* is 0\.25; retry"
    with pytest.raises(Overloaded, match=problem):
        door.admission.enter()


def test_an_idle_server_takes_a_stream_that_will_be_late() -> None:
    door = Door(max_first_audio_seconds=0.25, playback_reserve=1.25)
    for _ in range(3):
        door.speak(first=2, seconds=10, audio=5)


def test_streams_that_play_are_not_made_to_run_dry() -> None:
    door = Door(playback_reserve=1.25)
    door.speak(first=0.1, seconds=10, audio=30)  # three times real time: enough for two
    places = [door.admission.enter() for _ in range(2)]
    with pytest.raises(Overloaded, match=r"at 3\.0 times real time one more would make them run"):
        door.admission.enter()
    door.admission.leave(places[0], 0)
    door.admission.enter()


def taken(door: Door) -> int:
    """Streams that find a place, one after the other."""
    for number in range(100):
        try:
            door.admission.enter()
        except Overloaded:
            return number
    raise AssertionError("every one of 100 was taken")


@pytest.mark.parametrize(
    ("limits", "places"),
    [
        ({"max_streams": 7}, 7),
        ({"max_streams": 7, "max_first_audio_seconds": 0.55}, 5),
        ({"max_streams": 7, "playback_reserve": 1.25}, 2),
        ({"max_first_audio_seconds": 0.05, "playback_reserve": 9}, 1),
    ],
)
def test_as_many_places_are_told_of_as_there_are(limits: dict[str, float], places: int) -> None:
    door = Door(**limits)
    assert door.places[0] == limits.get("max_streams", 1000)  # nothing is known yet
    for _ in range(20):
        door.speak(first=0.1, seconds=10, audio=30)
    assert door.places[-1] == places
    assert taken(door) == places


def test_the_hint_is_when_the_next_stream_should_end() -> None:
    door = Door(max_streams=2)
    for _ in range(5):
        door.speak(first=0.1, seconds=8, audio=10)
    for _ in range(2):
        door.admission.enter()
    with pytest.raises(Overloaded, match=r"retry after 4\.0 s"):
        door.admission.enter()


def entering(door: Door, cancelled: Callable[[], bool] = lambda: False) -> tuple[list, Callable]:
    """Enter in a thread: what came of it, once joined."""
    came: list[Place | Exception] = []

    def enter() -> None:
        try:
            came.append(door.admission.enter(cancelled))
        except Exception as error:
            came.append(error)

    thread = threading.Thread(target=enter)
    thread.start()

    def joined() -> Place | Exception:
        thread.join(HANG_S)
        return came[0]

    return came, joined


def test_who_queues_takes_the_place_of_one_that_leaves() -> None:
    door = Door(max_streams=1, queue_streams=1, queue_seconds=5)
    place = door.admission.enter()
    came, joined = entering(door)
    wait_until(lambda: "queued" in door.decisions)
    with pytest.raises(Overloaded):  # the queue has room for one
        door.admission.enter()
    assert not came
    door.admission.leave(place, 0)
    assert isinstance(joined(), Place)
    assert door.decisions == ["admitted", "queued", "refused", "admitted"]


def test_who_queues_too_long_is_refused() -> None:
    door = Door(max_streams=1, queue_streams=1, queue_seconds=5)
    door.admission.enter()
    _, joined = entering(door)
    wait_until(lambda: "queued" in door.decisions)
    door.clock.move(6)
    assert isinstance(joined(), Overloaded)


def test_who_queues_and_goes_is_forgotten() -> None:
    door, gone = Door(max_streams=1, queue_streams=1, queue_seconds=5), threading.Event()
    door.admission.enter()
    _, joined = entering(door, gone.is_set)
    wait_until(lambda: "queued" in door.decisions)
    gone.set()
    assert isinstance(joined(), Cancelled)
    _, joined = entering(door)  # there is room in the queue again
    wait_until(lambda: door.decisions.count("queued") == 2)
    door.clock.move(6)
    joined()


def test_a_forecast_learns_the_cost_of_each_stream_more() -> None:
    forecast = Forecast()
    assert forecast.first_audio(0) is None and forecast.saw_first_audio(0, 0.1) is None
    for _ in range(300):
        for running in range(4):
            forecast.saw_first_audio(running, 0.1 + 0.03 * running)
    for running in range(8):
        assert forecast.first_audio(running) == pytest.approx(0.1 + 0.03 * running, rel=0.05)


def test_a_forecast_holds_for_19_of_20() -> None:
    forecast, late = Forecast(), 0
    for n in range(2000):
        seconds = 0.1 * (1 + (n * 37 % 100) / 100)  # 0.1 to 0.2
        expected = forecast.first_audio(0)
        late += expected is not None and n >= 1000 and seconds > expected
        forecast.saw_first_audio(0, seconds)
    assert 20 <= late <= 100, "of 1000"


def test_the_newest_counts_most() -> None:
    forecast = Forecast()
    for seconds in [1.0] * 100 + [0.1] * 200:
        forecast.saw_first_audio(0, seconds)
    assert forecast.first_audio(0) == pytest.approx(0.1, rel=0.1)

"""What the soak calls a fault."""

import numpy as np
import pytest

from soak.report import Report
from soak.requests import Asker, Result, pool
from soak.watch import Sight
from tritone_client import SpeechError


class Client:
    """Answers every request with this, or raises it; closes after what was taken."""

    def __init__(self, answer: np.ndarray | SpeechError, packet: int = 10) -> None:
        self._answer, self._packet = answer, packet

    def speak(self, *_: object, **__: object) -> np.ndarray:
        if isinstance(self._answer, SpeechError):
            raise self._answer
        return self._answer

    def stream(self, *_: object, **__: object):
        if isinstance(self._answer, SpeechError):
            raise self._answer
        for begin in range(0, len(self._answer), self._packet):
            yield self._answer[begin : begin + self._packet]


SAMPLES = np.arange(100, dtype=np.float32)


def asker(answer: np.ndarray | SpeechError) -> Asker:
    every = pool()
    return Asker(Client(answer), every, [SAMPLES] * len(every), seed=1)


def outcomes(answer: np.ndarray | SpeechError, kind: str) -> set[str]:
    asking = asker(answer)
    return {getattr(asking, f"_{kind}")().outcome for _ in range(20)}


def test_what_is_known_is_good() -> None:
    assert outcomes(SAMPLES, "whole") == outcomes(SAMPLES, "cancelled") == {"good"}


@pytest.mark.parametrize(
    "wrong",
    [SAMPLES[:-1], np.append(SAMPLES, 0).astype(np.float32), SAMPLES[::-1].copy()],
    ids=["lost", "doubled", "mixed up"],
)
def test_other_samples_are_a_fault(wrong: np.ndarray) -> None:
    assert outcomes(wrong, "whole") == {"fault"}


def test_the_beginning_of_a_cancelled_stream_is_compared() -> None:
    assert "fault" in outcomes(SAMPLES[::-1].copy(), "cancelled")


def test_bad_input_that_is_spoken_is_a_fault() -> None:
    assert outcomes(SAMPLES, "refused") == {"fault"}
    assert outcomes(SpeechError("INVALID_ARGUMENT", "no"), "refused") == {"good"}


def test_an_error_is_a_loss() -> None:
    asking = asker(SpeechError("UNAVAILABLE", "gone"))
    assert {asking.ask().outcome for _ in range(20)} == {"lost"}


def report(sizes: list[float], **changes: object) -> Report:
    sights = [
        Sight(5.0 * n, {"server": 9.0}, {"server": size}, 1, 1, 1) for n, size in enumerate(sizes)
    ]
    given = {"results": [Result("whole", "good", 24000)], "kills": 0, "unexplained": [], "left": {}}
    return Report(sights=sights, **{**given, **changes})


def test_memory_may_grow_at_first_and_not_later() -> None:
    assert report([50, 80, 99, 100, 100, 100, 100, 100]).faults == []
    (fault,) = report([100] * 8 + [100, 101, 103, 103, 104, 105, 106, 106]).faults
    assert fault.startswith("memory grew by 5.")


def test_each_fault_is_told_and_the_table_shows_it() -> None:
    lost = Result("whole", "lost", problem="gone")
    wrong = Result("whole", "fault", 3, "3 samples are not the 4 known ones")
    found = report(
        [100] * 8, results=[lost, wrong], unexplained=[lost], left={"tritone_streams": 1.0}
    )
    assert found.faults == [
        "whole: 3 samples are not the 4 known ones",
        "whole lost, and nothing was killed: gone",
        "tritone_streams is 1 at the end",
    ]
    assert "| whole | 0 | 1 | 1 |" in str(found)


def test_the_mix_is_the_same_for_the_same_seed() -> None:
    kinds = [[asking.ask().kind for _ in range(50)] for asking in (asker(SAMPLES), asker(SAMPLES))]
    assert kinds[0] == kinds[1]
    assert set(kinds[0]) == {"whole", "cancelled", "refused", "reference"}

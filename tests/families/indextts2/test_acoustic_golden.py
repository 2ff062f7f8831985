"""Flow, vocoder and emotions against upstream's numbers."""

from itertools import chain

import pytest
from parity import ParityResult, indextts2_acoustic, indextts2_vocoder
from paths import GOLDEN

from tritone.families.indextts2.rows import Rows

FOLDER = GOLDEN / "indextts2"


@pytest.fixture(scope="module")
def results() -> list[ParityResult]:
    parts = (indextts2_acoustic, indextts2_vocoder)
    return list(chain.from_iterable(part.cases(FOLDER) for part in parts))


@pytest.mark.parametrize(
    ("case", "count"),
    [
        ("length_regulator", 12),
        ("dit_cfm", 10),
        ("emotion_vector", 30),
        ("bigvgan", 7),
    ],
)
def test_golden(results: list[ParityResult], case: str, count: int) -> None:
    own = [result for result in results if result.case.startswith(case)]
    assert len(own) == count
    assert not [result for result in own if not result.passed]


def test_a_mistake_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison does find what it is for: frames whose positions count from the end."""
    right = Rows.positions
    monkeypatch.setattr(Rows, "positions", lambda self, device: right(self, device).flip(0))
    missed = (r.case for r in indextts2_acoustic.cases(FOLDER) if not r.passed)
    assert next(missed) == "dit_cfm block0_out"

"""Streams beyond the limit are refused, and those that leave make room."""

import pytest

from tritone.errors import Overloaded
from tritone.synthesis.deadlines import StreamAdmission


def test_a_limit_is_kept_and_every_change_is_told() -> None:
    counts: list[int] = []
    admission = StreamAdmission(2, counts.append)
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded, match="2 streams are running, the limit; retry later"):
        admission.enter()
    admission.leave()
    admission.enter()
    assert counts == [1, 2, 1, 2]

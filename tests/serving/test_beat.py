"""What a model's process does between its signs of life."""

import ctypes
import os

import pytest

from tritone.serving import beat


def test_freed_memory_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []

    class Library:
        malloc_trim = staticmethod(trims.append)

    heard, sender = os.pipe()
    told: list[float] = []

    def sleep(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 2 * beat._TRIM_BEATS:
            os.close(heard)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    monkeypatch.setattr(beat.time, "sleep", sleep)
    try:
        beat._tell(sender)  # until nobody listens
    finally:
        os.close(sender)
    assert len(told) == 2 * beat._TRIM_BEATS and trims == [0, 0]

"""Flaws planted between the stages of the embedded voice: what is heard then is like speech that
never had them."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paths import EMBEDDED
from waiting import HANG_S

from tritone.arrays import Float32
from tritone.frontend.audio.sketch import Sketch
from tritone.llm.contract import Increment, SamplingParams
from tritone.local.tts import TTS, LocalStages
from tritone.synthesis.limits import Limits
from tritone.synthesis.pipeline import Settings

TEXT = "The dog barks whenever the doorbell rings."


@pytest.fixture(scope="module")
def sound() -> Iterator[LocalStages]:
    stages = LocalStages(EMBEDDED, Limits())
    yield stages
    stages.llm.close()


def speak(stages: LocalStages, streaming: bool = True) -> tuple[Sketch, dict[str, Any]]:
    sampling = SamplingParams(seed=3)
    tts = TTS(stages, Settings(max_retry_seconds=HANG_S))
    chunks = list(tts.stream(TEXT, voice="joe", sampling=sampling, streaming=streaming))
    wave = np.concatenate([chunk.samples for chunk in chunks])
    assert np.isfinite(wave).all() and np.abs(wave).max() < 0.99
    return Sketch.of(wave, tts.sample_rate), chunks[-1].timing


class Spoilt:
    """A session whose output is changed."""

    def __init__(self, session: Any, spoil: Callable[[Float32], Float32]) -> None:
        self._session, self._spoil = session, spoil

    def step(self, *given: Any, **more: Any) -> Float32:
        return self._spoil(self._session.step(*given, **more))

    def close(self) -> None:
        self._session.close()


class Misled:
    """A generation whose increments are changed."""

    def __init__(self, generation: Any, change: Callable[[Increment], Increment]) -> None:
        self._generation, self._change = generation, change

    def __iter__(self) -> Iterator[Increment]:
        yield from map(self._change, self._generation)

    def cancel(self) -> None:
        self._generation.cancel()


def first_is(
    stages: LocalStages, method: str, wrap: Callable[..., Any], *options: Any
) -> LocalStages:
    """Stages whose method gives something else the first time."""
    planted, calls, plain = copy(stages), [], getattr(stages, method)

    def call(*given: Any, **more: Any) -> Any:
        calls.append(1)
        made = plain(*given, **more)
        return wrap(made, *options) if len(calls) == 1 else made

    setattr(planted, method, call)
    return planted


def stray(increment: Increment) -> Increment:
    return replace(increment, ids=np.full_like(increment.ids, 100_000))


def read_aloud(increment: Increment) -> Increment:
    assert increment.said is not None
    return replace(increment, said=np.full_like(increment.said, 4))


@pytest.fixture(scope="module")
def expected(sound: LocalStages) -> Sketch:
    sketch, record = speak(sound)
    assert record["flaws"] == {} and record["retries"] == 0
    return sketch


@pytest.mark.parametrize(
    ("kind", "method", "planted"),
    [
        ("bad_id", "generate", (Misled, stray)),
        ("transcript", "generate", (Misled, read_aloud)),
        ("not_finite", "open_flow", (Spoilt, lambda frames: frames * np.float32(np.nan))),
        ("not_finite", "open_vocoder", (Spoilt, lambda wave: wave + np.float32(np.inf))),
        ("clipping", "open_vocoder", (Spoilt, lambda wave: 20 * wave)),
        ("silence", "open_vocoder", (Spoilt, lambda wave: wave / 1000)),
    ],
)
def test_it_is_spoken_as_if_nothing_had_been(
    sound: LocalStages, expected: Sketch, kind: str, method: str, planted: tuple[Any, ...]
) -> None:
    """Silence in one piece: streamed, some of it would have left."""
    planted_stages = first_is(sound, method, *planted)
    healed, record = speak(planted_stages, streaming=kind != "silence")
    assert record["flaws"] == {kind: 1} and record["retries"] == 1
    assert healed.likeness(expected) > 0.7
    assert healed.seconds == pytest.approx(expected.seconds, rel=0.2)

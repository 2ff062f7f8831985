"""What a speech held is freed when it ends, however that is, and not once the garbage collector has
found it: audio and tensors in Triton's shared memory hang on it."""

import gc
import itertools
import weakref
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from fake_stages import CONFIG, RULES, FakeStages, codes, one, request

from tritone.errors import InvalidRequest, StageFailed, TritoneError
from tritone.frontend.voices import VoiceCache
from tritone.llm.generation import Feed, FeedGeneration
from tritone.synthesis.live_text import LiveText
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.timing import Timing


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def ended(stages: FakeStages, calls: int = 10**6, text: LiveText | None = None) -> weakref.ref:
    """A speech that has ended, by its timing, which all of its parts know."""
    asked, timing = itertools.count(), Timing(CONFIG.sample_rate)
    chunks = synthesize(
        request(),
        stages,
        RULES,
        Settings(),
        lambda: next(asked) >= calls,
        timing=timing,
        live=text,
    )
    try:
        for _ in chunks:
            pass
    except TritoneError:
        pass
    assert stages.all_freed
    return weakref.ref(timing)


@pytest.mark.parametrize("calls", [0, 1, 30, 45, 10**6])
def test_of_one_that_is_cancelled_or_ends_well(calls: int) -> None:
    hold = 100 if calls < 10**6 else None
    assert ended(one(codes(400), hold=hold), calls)() is None


@pytest.mark.parametrize("at", ["prepare 0", "prepare 1", "generate 0", "open flow 0", "flow 0"])
def test_of_one_that_a_stage_fails(at: str) -> None:
    def fail(event: str) -> None:
        if event == at:
            raise StageFailed("token2wav", "broke")

    assert ended(one(codes(400), fail=fail))() is None


def test_of_one_whose_text_breaks_off() -> None:
    text = LiveText(100)
    text.end(InvalidRequest("target_text", "is no text"))
    freed = ended(one(codes(40)), text=text)
    text.close()
    assert freed() is None


@pytest.mark.parametrize("fails", [True, False])
def test_of_a_generation(fails: bool) -> None:
    feed = Feed()
    feed.outbox.put(StageFailed("tensorrt_llm", "broke") if fails else None)
    generation = FeedGeneration(feed)
    freed = weakref.ref(generation)
    with suppress(StageFailed):
        assert list(generation) == []
    del generation
    assert freed() is None


def test_of_a_voice_that_could_not_be_made() -> None:
    class Recording:
        pass

    def make(recording: Recording) -> None:
        raise InvalidRequest("reference_wav", "is silent")

    recording = Recording()
    freed = weakref.ref(recording)
    with suppress(InvalidRequest):
        VoiceCache(2).get("key", partial(make, recording))
    del recording
    assert freed() is None

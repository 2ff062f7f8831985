"""The pipeline over fakes: order, overlap, clean-up, seeds, timing."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_stages import (
    CONFIG,
    RULES,
    SAMPLES,
    FakeStages,
    codes,
    one,
    request,
    segment,
    speak,
    spoken,
)
from waiting import HANG_S

from tritone.errors import Cancelled, InvalidRequest, StageFailed
from tritone.families.cosyvoice2.rules import CosyVoice2Rules
from tritone.llm.contract import SamplingParams
from tritone.synthesis import pieces
from tritone.synthesis.pipeline import Settings, synthesize
from tritone.synthesis.rules import Hops
from tritone.synthesis.run_ahead import RunAhead
from tritone.synthesis.timing import Timing


def failing(at: str, error: Exception) -> Callable[[str], None]:
    def fail(event: str) -> None:
        if event == at:
            raise error

    return fail


def test_chunks_come_in_order() -> None:
    stages = one(codes(70))
    chunks = speak(stages)
    assert spoken(chunks) == codes(70)
    assert [len(t) for t in stages.flows[0].tokens] == [28, 25, 17]
    assert [chunk.last for chunk in chunks] == [False, False, False, True]
    assert stages.vocoders == [(7, 1.0)]


def test_the_first_samples_do_not_wait_for_the_whole_first_hop() -> None:
    early, rest, *_ = speak(one(codes(70)))
    assert len(early.samples) * 2 == 18 * SAMPLES  # `first_frames`, two frames a token
    assert len(early.samples) + len(rest.samples) == 28 * SAMPLES


@pytest.mark.parametrize("increment", [1, 3, 70])
def test_increments_do_not_matter(increment: int) -> None:
    stages = one(codes(70), increment=increment)
    assert spoken(speak(stages)) == codes(70)
    assert [len(t) for t in stages.flows[0].tokens] == [28, 25, 17]


def test_nothing_left_after_the_last_hop() -> None:
    stages = one(codes(53))
    assert spoken(speak(stages)) == codes(53)
    assert [len(t) for t in stages.flows[0].tokens] == [28, 25, 0]


def test_the_next_segment_starts_before_the_last_chunk_of_this_one() -> None:
    pieces = [segment("one"), segment("two"), segment("six")]
    speeches = [codes(60), codes(40, 100), codes(30, 200)]
    stages = FakeStages(pieces, speeches)
    seen_at_chunk = []
    heard = []
    for chunk in synthesize(request(), stages, RULES, Settings()):
        heard.append(chunk)
        seen_at_chunk.append(len(stages.asked))
    assert spoken(heard) == codes(60) + codes(40, 100) + codes(30, 200)
    events = stages.events
    for number in (0, 1):
        assert events.index(f"generate {number + 1}") < events.index(f"flow {number} ends")
        assert events.index(f"open flow {number + 1}") < events.index(f"flow {number} ends")
    assert [chunk.last for chunk in heard].count(True) == 1 and heard[-1].last
    assert stages.all_freed and len(stages.vocoders) == 3
    assert [bytes(ask.prompt.ids.astype(np.uint8)) for ask in stages.asked] == [
        b"one",
        b"two",
        b"six",
    ]


def test_flow_runs_beside_the_vocoder() -> None:
    # The vocoder's first call ends only once the flow has been called again.
    again = threading.Event()

    def meet(event: str) -> None:
        if event == "flow 0" and stages.events.count("flow 0") == 2:
            again.set()
        if event == "vocoder":
            assert again.wait(HANG_S)

    stages = one(codes(90), fail=meet)
    assert spoken(speak(stages)) == codes(90)
    assert stages.flows[0].thread != threading.current_thread().name


def test_without_streaming_the_whole_speech_is_one_chunk() -> None:
    stages = FakeStages([segment("one", prompt=20), segment("two", prompt=20)], [codes(70)] * 2)
    (chunk,) = speak(stages, streaming=False)
    assert spoken([chunk]) == codes(70) * 2 and chunk.last
    assert [flow.tokens for flow in stages.flows] == [[codes(70)]] * 2
    assert [len(v.prompt_tokens) for v in stages.voices] == [20, 20]  # nothing is trimmed


def test_the_prompt_is_trimmed_for_the_first_hop() -> None:
    stages = FakeStages([segment("one", prompt=37)], [codes(60)])
    voice = stages.segments[0].voice
    speak(stages, rules=CosyVoice2Rules(CONFIG, Hops(first_hop=5, max_hop=25)))
    # 37 tokens would leave 13 of a chunk open; without 17 of them 5 are left.
    assert np.array_equal(stages.voices[0].prompt_tokens, voice.prompt_tokens[17:])
    assert np.array_equal(stages.voices[0].prompt_mel, voice.prompt_mel[34:])
    assert [len(t) for t in stages.flows[0].tokens] == [8, 25, 25, 2]


@pytest.mark.parametrize(
    "at",
    [
        "prepare 0",
        "prepare 1",
        "generate 0",
        "generate 1",
        "tokens of 0",
        "tokens of 1",
        "open flow 0",
        "open flow 1",
        "flow 0",
        "flow 0 ends",
        "flow 1",
        "open vocoder 0",
        "open vocoder 1",
        "vocoder",
        "vocoder ends",
    ],
)
def test_a_failing_stage_frees_the_others(at: str) -> None:
    error = StageFailed("any", at)
    stages = FakeStages([segment("one"), segment("two")], [codes(60)] * 2, fail=failing(at, error))
    with pytest.raises(StageFailed) as raised:
        list(synthesize(request(), stages, RULES, Settings()))
    assert raised.value is error
    assert stages.all_freed
    assert not _pipeline_threads()


def _pipeline_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "run-ahead"]


@pytest.mark.parametrize("after", [1, 2])
def test_closing_the_iterator_stops_everything(after: int) -> None:
    segments, speeches = [segment("one", 40), segment("two", 40)], [codes(400), codes(400)]
    stages = FakeStages(segments, speeches, hold=300)
    rules = CosyVoice2Rules(CONFIG, Hops(max_hop=25))
    chunks = synthesize(request(), stages, rules, Settings())
    for _ in range(after):
        next(chunks)
    chunks.close()
    assert stages.all_freed and not _pipeline_threads()
    assert len(stages.generations) == 1 and not stages.generations[0].ended
    assert stages.flows[0].taken < 28 + 25 * (after + 3)


def test_closing_does_not_wait_for_the_next_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    """One token after the caller has gone, and not those of a hop, lets the stages be freed."""
    closing = threading.Event()

    class Closing(RunAhead):
        def close(self) -> None:
            closing.set()
            super().close()

    def hold(event: str) -> None:
        if event == "tokens of 0" and stages.events.count(event) == 30:
            assert closing.wait(HANG_S)

    monkeypatch.setattr(pieces, "RunAhead", Closing)
    stages = one(codes(400), fail=hold, hold=30)
    chunks = synthesize(request(), stages, RULES, Settings())
    next(chunks)
    chunks.close()
    assert stages.all_freed and stages.generations[0].given == 30
    assert stages.events.count("flow 0") == 1


def test_a_late_stream_has_its_tokens_taken_together() -> None:
    """A clock so fast that playback is always dry, and tokens that are all there at once."""
    stages = one(codes(400), increment=400)
    seconds = itertools.count(step=1000.0)
    timing = Timing(CONFIG.sample_rate, lambda: next(seconds))
    list(synthesize(request(), stages, RULES, Settings(), timing=timing))
    sizes = [len(call) for call in stages.flows[0].tokens]
    assert sizes[0] == 28 and max(sizes) == 100 and sum(sizes) == 400


@pytest.mark.parametrize("calls", [0, 1, 30, 45])
def test_a_cancelled_request_ends(calls: int) -> None:
    asked = iter(range(10_000))
    stages = one(codes(400), hold=100)
    with pytest.raises(Cancelled):
        list(synthesize(request(), stages, RULES, Settings(), lambda: next(asked) >= calls))
    assert stages.all_freed and not stages.generations[0].ended
    assert stages.flows[0].taken <= calls


def test_a_bad_request_reaches_no_stage() -> None:
    stages = one(codes(40))
    with pytest.raises(InvalidRequest, match="speed"):
        next(synthesize(request(speed=3.0), stages, RULES, Settings()))
    assert stages.events == []


def test_no_segment_is_the_front_end_s_fault() -> None:
    with pytest.raises(StageFailed, match="frontend: gave no segment"):
        speak(FakeStages([], []))


def test_lengths_follow_the_text() -> None:
    stages = FakeStages([segment("one", tokens=7), segment("two", tokens=100)], [codes(60)] * 2)
    speak(stages, Settings(max_segment_seconds=36))
    assert [(ask.min_tokens, ask.max_tokens) for ask in stages.asked] == [(14, 140), (200, 900)]


def test_seeds_are_reproducible_and_segments_have_their_own() -> None:
    def seeds(seed: int | None) -> list[int | None]:
        stages = FakeStages([segment("one"), segment("two")], [codes(40)] * 2)
        speak(stages, sampling=SamplingParams(seed=seed, top_k=3))
        assert {ask.sampling.top_k for ask in stages.asked} == {3}
        return [ask.sampling.seed for ask in stages.asked] + [s for s, _ in stages.vocoders]

    assert seeds(7) == seeds(7) == [7, 8, 7, 7]
    assert seeds(None) != seeds(None)
    largest = 2**64 - 1
    assert seeds(largest) == [largest, 0, largest, largest]


def test_the_timing_record_adds_up() -> None:
    stages = FakeStages([segment("one"), segment("two")], [codes(60), codes(40)])
    moments = itertools.count(step=1e-4)
    timing = Timing(CONFIG.sample_rate, lambda: next(moments))
    chunks = list(synthesize(request(), stages, RULES, Settings(), timing=timing))
    records = [chunk.timing for chunk in chunks]
    last = records[-1]
    assert last["packets"] == len(chunks) and last["segments"] == 2 and last["tokens"] == 100
    assert last["audio_s"] == sum(len(chunk.samples) for chunk in chunks) / 24000 == 4.0
    assert last["first_packet_s"] <= last["first_audible_s"] <= last["total_s"] + 4.0
    assert all(record["total_s"] is None for record in records[:-1])
    assert [record["packets"] for record in records] == list(range(1, len(chunks) + 1))
    assert last["flow_busy_s"] <= last["total_s"] + 2e-4
    assert last["gap_median_s"] <= last["gap_longest_s"] < last["total_s"]
    assert (last["underruns"], last["retries"]) == (0, 0) and last["voice_cached"] is False
    assert last["rtf"] == pytest.approx(last["total_s"] / 4.0, abs=1e-4)
    assert last["notes"] == ["note of one", "note of two"]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_pause_is_silence_before_its_segment(streaming: bool) -> None:
    segments = [segment("one"), replace(segment("two"), pause=0.5, pause_after=0.25)]
    stages = FakeStages(segments, [codes(30, 1), codes(20, 100)])
    wave = np.concatenate([chunk.samples for chunk in speak(stages, streaming=streaming)])
    before, silence, end = 30 * SAMPLES, CONFIG.sample_rate // 2, CONFIG.sample_rate // 4
    assert len(wave) == 50 * SAMPLES + silence + end
    assert not wave[before : before + silence].any() and not wave[-end:].any()
    assert wave[:before].all() and wave[before + silence : -end].all()


def test_each_segment_knows_its_text_and_its_samples() -> None:
    segments = [
        replace(segment("one"), start=3, pause=0.5),
        replace(segment("two"), start=9, pause=0.25, speed=1.5),
    ]
    stages = FakeStages(segments, [codes(30), codes(20)])
    chunks = list(speak(stages, text="-- one two --", speed=1.6))
    first, gap = 30 * SAMPLES, CONFIG.sample_rate // 4
    assert chunks[-1].timing["spans"] == [
        {"text": [0, 9], "samples": [2 * gap, 2 * gap + first]},
        {"text": [9, 13], "samples": [3 * gap + first, 3 * gap + first + 20 * SAMPLES]},
    ]
    assert [speed for _, speed in stages.vocoders] == [1.6, 2.0]  # the fastest there is
    assert chunks[0].timing["spans"] == []

"""The flow's windows: what they add up to, what they depend on, and what is refused."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from indextts2_acoustic import FLOW, flow, vocoder_network

from evaluation.seams import measure, seams_of
from tritone.acoustic.flow_stage import FlowStage, StageStep
from tritone.acoustic.placement import FlowSettings
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.errors import Cancelled, InvalidRequest
from tritone.families.indextts2 import window_solver
from tritone.families.indextts2.acoustics import NOISE_FRAMES, CodeFlow
from tritone.families.indextts2.pace import HELD_FRAMES, frames_of
from tritone.families.indextts2.planner import HopPlanner, HopPolicy
from tritone.families.indextts2.vocoder import Vocoder
from tritone.families.indextts2.voice import Voice
from tritone.llm.contract import Increment

RATE = 2752  # of samples: 32 a frame, 86 frames a second


def normal(seed: int, *shape: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def speech(count: int, seed: int = 0) -> Increment:
    ids = np.random.default_rng(seed).integers(0, FLOW.codes, count).astype(np.int32)
    return Increment(ids, normal(seed, count, FLOW.latent_width))


def speaker(seed: int, codes: int = 60) -> Voice:
    mel, style = normal(seed, frames_of(codes), FLOW.mel), normal(seed, FLOW.style)
    return Voice(speech(codes, seed).ids, mel, style, normal(seed, 2, 3), normal(seed, 3))


VOICE = speaker(1)


@pytest.fixture(scope="module")
def stage() -> FlowStage:
    return FlowStage(CodeFlow(flow()), FlowSettings())


def hops(increment: Increment, policy: HopPolicy) -> Iterator[tuple[Increment, bool]]:
    planner = HopPlanner(policy)
    planner.push(increment)
    while planner.ready:
        yield planner.take(0.0, 1.0), False
    yield planner.rest(), True


def streamed(
    stage: FlowStage, increment: Increment, policy: HopPolicy | None = None
) -> list[Float32]:
    state, mels = stage.open(VOICE), []
    for hop, last in hops(increment, policy or HopPolicy()):
        mel, state = stage.step(hop, state, finalize=last)
        mels.append(mel)
    return mels


@pytest.mark.parametrize("count", [1, 49, 50, 51, 333])
def test_chunks_add_up_to_the_frames_of_one_pass(stage: FlowStage, count: int) -> None:
    mels = streamed(stage, speech(count))
    whole = stage.whole(speech(count), VOICE)
    assert sum(mel.shape[1] for mel in mels) == whole.shape[1] == frames_of(count)
    planned = [hop for hop in (50, 125, 225, 325) if hop <= count]
    ends = np.cumsum([mel.shape[1] for mel in mels])
    assert ends[:-1].tolist() == [frames_of(end) - HELD_FRAMES for end in planned]


@pytest.mark.parametrize("count", [1, 30, 50])
def test_a_single_window_is_one_pass(stage: FlowStage, count: int) -> None:
    mel = np.concatenate(streamed(stage, speech(count)), axis=1)
    np.testing.assert_allclose(mel, stage.whole(speech(count), VOICE), atol=1e-5)


def test_a_window_ends_between_two_steps_once_nobody_waits(stage: FlowStage) -> None:
    looks = iter([False, True])
    step = StageStep(speech(60), stage.open(VOICE), True, lambda: next(looks))
    (result,) = stage.step_all([step])
    assert isinstance(result, Cancelled) and next(looks, None) is None


def test_frames_that_are_out_do_not_depend_on_what_follows(stage: FlowStage) -> None:
    long, short = speech(300), speech(300)[:130]
    before = streamed(stage, short)[:2]
    for one, other in zip(before, streamed(stage, long), strict=False):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("frames", [window_solver.TOGETHER, 400])
def test_streams_of_several_voices_go_together_and_do_not_hear_of_one_another(
    stage: FlowStage, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_solver, "TOGETHER", frames)
    voices = [VOICE, speaker(2, codes=20), replace(VOICE, style=-VOICE.style)]
    counts = [140, 60, 55]
    alone, together = [], []
    states = [stage.open(voice) for voice in voices]
    for index, voice in enumerate(voices):
        mel, state = stage.step(speech(50, index), stage.open(voice), finalize=False)
        rest, _ = stage.step(speech(counts[index], 9 + index), state, finalize=True)
        alone.append([mel, rest])
    first = [StageStep(speech(50, i), state, False) for i, state in enumerate(states)]
    results = stage.step_all(first)
    states = [result[1] for result in results]
    together.append([result[0] for result in results])
    last = [StageStep(speech(counts[i], 9 + i), s, True) for i, s in enumerate(states)]
    together.append([result[0] for result in stage.step_all(last)])
    for index in range(len(voices)):
        for part in range(2):
            np.testing.assert_allclose(alone[index][part], together[part][index], atol=2e-5)
    assert np.abs(alone[0][0] - alone[2][0]).max() > 0.1


def test_small_steps_wait_until_a_window_gives_frames(stage: FlowStage) -> None:
    state, made = stage.open(VOICE), []
    increment = speech(40)
    for index in range(0, 40, 2):
        mel, state = stage.step(increment[index : index + 2], state, finalize=False)
        made.append(mel.shape[1])
    assert made[:2] == [0, 0] and sum(made) == frames_of(40) - HELD_FRAMES
    mel, _ = stage.step(increment[:0], state, finalize=True)
    assert sum(made) + mel.shape[1] == frames_of(40)


def test_a_stream_s_state_does_not_grow(stage: FlowStage) -> None:
    state, sizes = stage.open(VOICE), []
    for hop, _ in hops(speech(700), HopPolicy()):
        _, state = stage.step(hop, state, finalize=False)
        sizes.append(len(state.codes))
    assert max(sizes) <= 50 + 25 + 25 and state.total == 700


def heard(mels: list[Float32]) -> tuple[list[Float32], Float32]:
    """Chunks of samples of a streamed mel, and what one pass of the vocoder makes of it."""
    stage = VocoderStage(Vocoder(vocoder_network()))
    whole, _ = stage.step(
        np.concatenate(mels, axis=1), stage.start(seed=0, speed=1.0), finalize=True
    )
    state, waves = stage.start(seed=0, speed=1.0), []
    for index, mel in enumerate(mels):
        wave, state = stage.step(mel, state, finalize=index == len(mels) - 1)
        waves.append(wave)
    return waves, whole


def level_steps(wave: Float32, places: list[int]) -> Float32:
    """How much louder, in dB, the 0.1 s after each place are than those before."""
    near = RATE // 10
    power = [
        [np.mean(np.square(wave[p - near : p])), np.mean(np.square(wave[p : p + near]))]
        for p in places
    ]
    return 10 * np.diff(np.log10(power))[:, 0]  # type: ignore[no-any-return]


def test_seams_are_no_louder_and_no_sharper_than_one_pass(stage: FlowStage) -> None:
    """From codes to samples, where packets meet and where windows do."""
    increment = speech(700, seed=5)
    mels = streamed(stage, increment)
    waves, _ = heard(mels)
    wave = np.concatenate(waves)
    _, whole = heard([stage.whole(increment, VOICE)])
    assert len(wave) == len(whole) == frames_of(700) * 32
    packets, windows = seams_of(waves), [32 * seam for seam in seams_of([m[0] for m in mels])]
    assert len(packets) == len(windows) == 7
    for places in (packets, windows):
        steps = level_steps(wave, places) - level_steps(whole, places)
        assert np.abs(steps).max() <= 0.5  # measured 0.24
        assert measure(wave, whole, places, RATE).click <= 1.5  # measured 1.1


def test_windows_that_know_nothing_of_one_another_are_heard(stage: FlowStage) -> None:
    """The measure does find what it is for."""
    increment = speech(700, seed=5)
    parts = [stage.whole(increment[i : i + 100], VOICE) for i in range(0, 700, 100)]
    waves = [heard([part])[1] for part in parts]
    _, whole = heard([stage.whole(increment, VOICE)])
    wave, places = np.concatenate(waves), seams_of(waves)
    assert np.abs(level_steps(wave, places) - level_steps(whole, places)).max() > 0.8


@pytest.mark.parametrize(
    ("increment", "problem"),
    [
        (
            Increment(np.array([FLOW.codes], np.int32), normal(0, 1, 12)),
            r"holds 50; codes are 0\.\.49",
        ),
        (Increment(np.array([-1], np.int32), normal(0, 1, 12)), r"holds -1; codes are"),
        (Increment(np.zeros(3, np.int32)), r"have shape \[0, 12\]; 3 codes need \[3, 12\]"),
        (Increment(np.zeros(2, np.int32), normal(0, 2, 11)), r"have shape \[2, 11\]"),
        (Increment(np.zeros(1, np.int32), np.full((1, 12), np.inf, np.float32)), "NaN or infinite"),
    ],
)
def test_codes_that_cannot_be_are_refused(
    stage: FlowStage, increment: Increment, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        stage.step(increment, stage.open(VOICE), finalize=False)
    with pytest.raises(InvalidRequest, match=problem):
        stage.whole(increment, VOICE)


def test_more_than_a_segment_holds_is_refused(stage: FlowStage) -> None:
    count = NOISE_FRAMES * 25 // 43 + 2
    increment = Increment(np.zeros(count, np.int32), np.zeros((count, 12), np.float32))
    with pytest.raises(InvalidRequest, match=r"reach 1500\d mel frames; one segment holds 15000"):
        stage.step(increment, stage.open(VOICE), finalize=False)
    with pytest.raises(InvalidRequest, match="are none"):
        stage.whole(increment[:0], VOICE)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mel": normal(0, 9, 7)}, r"has mel of shape \[9, 7\]; it must be \[9, 8\]"),
        ({"style": normal(0, 4)}, r"has style of shape \[4\]; it must be \[5\]"),
        ({"codes": np.zeros(0, np.int32)}, "has 103 frames of mel and no codes"),
        ({"codes": np.array([50], np.int32)}, "holds 50; codes are"),
    ],
)
def test_voices_that_cannot_be_are_refused(
    stage: FlowStage, changes: dict[str, Float32], problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        stage.open(replace(VOICE, **changes))


def test_a_voice_travels_as_arrays() -> None:
    arrays = VOICE.to_arrays()
    assert Voice.from_arrays(arrays).to_arrays().keys() == arrays.keys()
    for name, value, problem in (
        ("mel", arrays["mel"][0], r"mel is float32 \[8\]; it has 2 dimensions"),
        ("codes", arrays["codes"].astype(np.int64), r"codes is int64"),
        ("style", arrays["style"] * np.nan, "style has values that are NaN"),
    ):
        with pytest.raises(ValueError, match=problem):
            Voice.from_arrays({**arrays, name: value})
    del arrays["emotion"]
    with pytest.raises(ValueError, match="a voice has"):
        Voice.from_arrays(arrays)


def test_without_a_reference_the_flow_warms_up(stage: FlowStage) -> None:
    stage.warm_up()
    voice, increment = stage.flow.example()
    mel = stage.whole(increment, voice)
    assert mel.shape == (FLOW.mel, frames_of(50)) and np.isfinite(mel).all()


def test_short_precision_stays_near() -> None:
    exact, rounded = flow(), flow()
    rounded.network.estimator.to(torch.bfloat16)
    mels = [
        FlowStage(CodeFlow(f), FlowSettings()).whole(speech(60), VOICE) for f in (exact, rounded)
    ]
    error = np.sqrt(np.mean((mels[1] - mels[0]) ** 2)) / mels[0].std()
    assert 0 < error < 0.05

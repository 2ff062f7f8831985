"""The vocoder's windows, and the states that come back to it."""

import itertools

import numpy as np
import pytest
import torch
from indextts2_acoustic import VOCODER, vocoder_network
from safetensors.torch import load, save

from evaluation.seams import measure
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.errors import InvalidRequest
from tritone.families.indextts2.pace import VOCODER_CONTEXT as CONTEXT
from tritone.families.indextts2.vocoder import Vocoder

SCALE = VOCODER.samples_per_frame


def mel(frames: int, seed: int = 0) -> Float32:
    values = np.random.default_rng(seed).standard_normal((VOCODER.mel, frames))
    return values.astype(np.float32)


def streamed(stage: VocoderStage, frames: Float32, edges: list[int]) -> list[Float32]:
    state, waves = stage.start(seed=3, speed=1.0), []
    for begin, end in itertools.pairwise([0, *edges, frames.shape[1]]):
        last = end == frames.shape[1]
        wave, state = stage.step(frames[:, begin:end], state, finalize=last)
        waves.append(wave)
    return waves


def whole(stage: VocoderStage, frames: Float32) -> Float32:
    return stage.step(frames, stage.start(seed=3, speed=1.0), finalize=True)[0]


@pytest.fixture(scope="module")
def stage() -> VocoderStage:
    return VocoderStage(Vocoder(vocoder_network()))


EDGES = ([40], [5, 9, 60, 61], list(range(100, 130)), [150])


@pytest.mark.parametrize("edges", EDGES, ids=lambda edges: f"{len(edges)} edges")
def test_any_split_gives_the_same_samples(stage: VocoderStage, edges: list[int]) -> None:
    """Up to rounding, where the context reaches as far as the network does."""
    network = vocoder_network()
    assert network.reach <= CONTEXT
    frames = mel(150)
    wave = np.concatenate(streamed(stage, frames, edges))
    assert wave.shape == (150 * SCALE,)
    np.testing.assert_allclose(wave, whole(stage, frames), atol=2e-6)


def test_frames_are_held_back_until_their_neighbours_are_known(stage: VocoderStage) -> None:
    waves = streamed(stage, mel(60), [CONTEXT, CONTEXT + 1, 40])
    assert [len(wave) // SCALE for wave in waves] == [0, 1, 40 - CONTEXT - 1, 20 + CONTEXT]


def test_a_context_shorter_than_the_reach_leaves_no_seam() -> None:
    """It reaches 11 frames; measured -50 dB, 0.05 dB and 1.001."""
    network = vocoder_network()
    stage, frames = VocoderStage(Vocoder(network, context=5)), mel(300)
    edges = list(range(30, 300, 30))
    wave, exact = np.concatenate(streamed(stage, frames, edges)), whole(stage, frames)
    seams = [(edge - 5) * SCALE for edge in edges]
    report = measure(wave, exact, seams, 86 * SCALE)
    assert np.abs(wave - exact).max() > 0
    assert report.error_db < -40 and report.level_db < 0.1 and report.click < 1.1


def test_a_frame_is_heard_within_the_reach_and_nowhere_else() -> None:
    network = vocoder_network()
    frames = torch.from_numpy(mel(80))[None]
    changed = frames.clone()
    changed[:, :, 40] += 1
    with torch.inference_mode():
        difference = (network(changed) - network(frames)).abs().view(80, SCALE).amax(1)
    heard = difference.nonzero().flatten()
    assert 40 - network.reach <= int(heard.min()) and int(heard.max()) <= 40 + network.reach
    assert len(heard) > network.reach


def test_a_state_travels_as_bytes(stage: VocoderStage) -> None:
    frames = mel(90)
    state = stage.start(seed=0, speed=1.0)
    first, state = stage.step(frames[:, :50], state, finalize=False)
    packed = state.to_bytes()
    rest, _ = stage.step(frames[:, 50:], stage.unpack(packed), finalize=True)
    together = np.concatenate(streamed(stage, frames, [50]))
    np.testing.assert_array_equal(np.concatenate([first, rest]), together)
    assert len(packed) < 8192


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vocoder.mel", lambda t: t[:-1]),
        ("vocoder.mel", lambda t: t * torch.nan),
        ("vocoder.beyond", lambda t: t[1:]),
        ("vocoder.numbers", lambda t: t - 20),
        ("vocoder.numbers", lambda t: t - 100),
        ("vocoder.numbers", lambda t: t * 0),
    ],
)
def test_a_state_of_no_stream_is_refused(stage: VocoderStage, name: str, change: object) -> None:
    _, state = stage.step(mel(50), stage.start(seed=0, speed=1.0), finalize=False)
    tensors = load(state.to_bytes())
    tensors[name] = change(tensors[name]).contiguous()  # type: ignore[operator]
    with pytest.raises(InvalidRequest, match="is none that this vocoder gave"):
        stage.unpack(save(tensors))


def test_it_warms_up_and_ends_without_frames(stage: VocoderStage) -> None:
    stage.warm_up()
    nothing, _ = stage.step(mel(0), stage.start(seed=0, speed=1.0), finalize=True)
    assert nothing.shape == (0,)


def test_another_tempo_changes_the_length_alone(stage: VocoderStage) -> None:
    state = stage.start(seed=0, speed=1.25)
    one, state = stage.step(mel(60), state, finalize=False)
    two, _ = stage.step(mel(40, 1), state, finalize=True)
    assert len(one) + len(two) == 80 * SCALE

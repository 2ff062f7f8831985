"""The vocoder chunk by chunk: nearly the one-shot waveform, to the sample as long."""

from collections.abc import Iterator

import fake_cuda_graphs
import numpy as np
import pytest
import torch
from token2wav_model import case, draw, tiny_vocoder
from torch import Tensor

from tritone.acoustic.filter import GraphedFilter
from tritone.acoustic.vocoder_stage import StretchState, VocoderStage, stretch, stretch_step
from tritone.arrays import Float32
from tritone.compute import GraphCache, recording
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import (
    Vocoder,
    accumulate_turns,
    excite,
    frame_noise,
)

FRAMES = 60
SCALE = 480
SEED = 5
# The phase is a sum over f0, so the rounding of f0, which differs between windows, adds up in it.
PHASE_CLOSE = 5e-3


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return tiny_vocoder()


@pytest.fixture(scope="module")
def mel() -> Tensor:
    return case("flow_stream")["mel_final_stream_true"][0, :, :FRAMES]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def one_shot(vocoder: Vocoder, mel: Tensor) -> Tensor:
    return vocoder(mel, frame_noise(SEED, 0, mel.shape[1], vocoder.config))


def streamed(vocoder: Vocoder, mel: Tensor, size: int, **windows: int) -> list[Tensor]:
    vocoder = Vocoder(vocoder.network, vocoder.sample_rate)
    vars(vocoder).update(windows)
    state, waves = vocoder.start(SEED), []
    for part in torch.split(mel, size, dim=1):
        wave, state = vocoder.step(part, state, finalize=False)
        waves.append(wave)
    waves.append(vocoder.step(mel[:, :0], state, finalize=True)[0])
    return waves


def decibel(error: Tensor, of: Tensor) -> float:
    return 20 * float(torch.log10(error.pow(2).mean().sqrt() / of.pow(2).mean().sqrt()))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> fake_cuda_graphs.Gpu:
    return fake_cuda_graphs.plug_in(monkeypatch)


def graphed(network: HiFT) -> GraphedFilter:
    filter = GraphedFilter(network)
    filter._graphs = GraphCache(fake_cuda_graphs.GPU)
    return filter


def test_a_shape_of_the_warm_up_is_replayed_and_gives_the_same(
    vocoder: Vocoder, mel: Tensor, gpu: fake_cuda_graphs.Gpu
) -> None:
    filter = graphed(vocoder.network)
    source = vocoder.source(
        vocoder.network.f0(mel[None]), frame_noise(SEED, 0, FRAMES, vocoder.config)
    )
    spectrum = vocoder.network.analyse(source[0])
    shapes = ((FRAMES, spectrum), (20, spectrum[:, :, : 20 * SCALE // 4 + 1]))
    with recording():
        for frames, part in shapes:
            filter(torch.zeros_like(mel)[None, :, :frames], torch.zeros_like(part))
    gpu.allowed = False
    for call in range(2):
        for frames, part in shapes:
            given = mel[None, :, :frames] * (1 + 0.1 * call)
            assert torch.equal(filter(given, part), vocoder.network.filter(given, part))
    assert [graph.replays for graph in gpu.graphs] == [3, 3]


def test_nothing_is_recorded_once_streams_are_served(
    vocoder: Vocoder, mel: Tensor, gpu: fake_cuda_graphs.Gpu
) -> None:
    """Hops of every length, over and over: a capture would stop all streams."""
    served = Vocoder(vocoder.network, vocoder.sample_rate, graphed(vocoder.network))
    stage = VocoderStage(served)
    stage.warm_up()
    recorded = len(gpu.graphs)
    gpu.allowed = False
    for size in (25, 25, 25, 25, 7):
        run_stage(stage, mel.numpy(), size, 1.0)
    assert 0 < recorded == len(gpu.graphs)


def test_windows_have_few_lengths() -> None:
    """Of streams that are longer than the first hops, whatever their lengths."""
    vocoder = tiny_vocoder()
    lengths, filtered = set[int](), vocoder.filter

    def filter(mel: Tensor, spectrum: Tensor) -> Tensor:
        lengths.add(mel.shape[2])
        return filtered(mel, spectrum)

    vocoder.filter = filter
    for frames in range(101, 150, 12):
        state, mel = vocoder.start(seed=0), torch.randn(vocoder.bins, frames, generator=draw(1))
        for begin, end in ((0, 24), (24, 50), (50, 100), (100, frames)):
            _, state = vocoder.step(mel[:, begin:end], state, finalize=end == frames)
    first = 24  # there is nothing before it
    assert lengths - {first} <= set(range(0, 120, vocoder.grid))


def run_stage(stage: VocoderStage, mel: Float32, size: int, speed: float) -> Float32:
    state, waves = stage.start(seed=SEED, speed=speed), []
    for begin in range(0, mel.shape[1], size):
        last = begin + size >= mel.shape[1]
        wave, state = stage.step(mel[:, begin : begin + size], state, finalize=last)
        waves.append(wave)
    return np.concatenate(waves)


@pytest.mark.parametrize("size", [1, 3, 25, FRAMES])
def test_default_windows_stay_near(vocoder: Vocoder, mel: Tensor, size: int) -> None:
    whole = one_shot(vocoder, mel)
    waves = streamed(vocoder, mel, size)
    wave = torch.cat(waves)
    assert len(wave) == len(whole) == FRAMES * SCALE
    # Random weights look further than a voice does: -35 dB here, below -70 dB for the real one.
    assert decibel(wave - whole, whole) < -30
    ready = [len(w) // SCALE for w in waves]
    fed = np.cumsum([p.shape[1] for p in torch.split(mel, size, dim=1)])
    assert list(np.cumsum(ready)) == [*np.maximum(0, fed - 8).tolist(), FRAMES]


@pytest.mark.parametrize("size", [3, 25])
def test_wide_windows_are_exact(
    vocoder: Vocoder, mel: Tensor, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A source without phase, whose rounding adds up: what is left is the windows' own error.
    monkeypatch.setattr("tritone.families.cosyvoice2.vocoder.excite", lambda *given: given[3] * 0.1)
    whole = one_shot(vocoder, mel)
    wave = torch.cat(streamed(vocoder, mel, size, context=16, lookahead=16, fade=1))
    assert (wave - whole).abs().max() < 1e-4


def test_wide_windows_with_the_predicted_f0(vocoder: Vocoder, mel: Tensor) -> None:
    whole = one_shot(vocoder, mel)
    wave = torch.cat(streamed(vocoder, mel, 7, context=20, lookahead=20))
    assert (wave - whole).abs().max() < PHASE_CLOSE
    assert decibel(wave - whole, whole) < -60


def test_streams_do_not_depend_on_what_follows(vocoder: Vocoder, mel: Tensor) -> None:
    other = torch.cat([mel[:, :40], mel[:, 40:].flip(1)], dim=1)
    first = streamed(vocoder, mel, 20)
    second = streamed(vocoder, other, 20)
    assert torch.equal(torch.cat(first[:2]), torch.cat(second[:2]))
    assert not torch.equal(first[2], second[2])


def test_the_seed_is_the_noise(vocoder: Vocoder, mel: Tensor) -> None:
    waves = [vocoder.step(mel, vocoder.start(s), finalize=True)[0] for s in (5, 5, 6)]
    assert torch.equal(waves[0], waves[1]) and not torch.equal(waves[0], waves[2])


def test_noise_belongs_to_its_frame(vocoder: Vocoder) -> None:
    whole = frame_noise(2**64 - 1, 0, 12, vocoder.config)
    part = frame_noise(2**64 - 1, 5, 4, vocoder.config)
    assert torch.equal(part, whole[:, 5 * SCALE : 9 * SCALE])
    assert abs(float(whole.mean())) < 0.02 and abs(float(whole.std()) - 1) < 0.02
    assert not torch.equal(whole[:, :SCALE], whole[:, SCALE : 2 * SCALE])


def test_phase_runs_on(vocoder: Vocoder) -> None:
    config, cut = vocoder.config, 23
    f0 = 80 + 60 * torch.rand(1, 50, generator=draw(1))
    f0[:, 10:14] = 3.0  # unvoiced
    noise = frame_noise(0, 0, 50, config)
    turns = accumulate_turns(f0, config.nb_harmonics + 1, 24000, None)
    whole = excite(f0, turns, None, noise, config)
    before = turns[:, cut - 1 : cut]
    later = accumulate_turns(f0[:, cut:], config.nb_harmonics + 1, 24000, before)
    assert torch.equal(later, turns[:, cut:])
    part = excite(f0[:, cut:], later, before, noise[:, cut * SCALE :], config)
    # Interpolation rounds its place in the window; the sines are 0.1 high.
    assert (part - whole[:, cut * SCALE :]).abs().max() < 5e-4


def test_state_survives_as_bytes(vocoder: Vocoder, mel: Tensor) -> None:
    stage, frames = VocoderStage(vocoder), mel.numpy()
    seed = 2**64 - 3
    kept, sent = stage.start(seed=seed, speed=1.3), stage.start(seed=seed, speed=1.3).to_bytes()
    for begin in (0, 1, 22, 47):
        part, last = frames[:, begin : {0: 1, 1: 22, 22: 47, 47: 60}[begin]], begin == 47
        expected, kept = stage.step(part, kept, finalize=last)
        wave, after = stage.step(part, stage.unpack(sent), finalize=last)
        sent = after.to_bytes()
        assert np.array_equal(wave, expected)
        assert sent == kept.to_bytes()
        assert len(sent) < 64_000
    assert stage.unpack(sent).vocoder.seed == seed


def test_a_step_leaves_its_state_alone(vocoder: Vocoder, mel: Tensor) -> None:
    stage, frames = VocoderStage(vocoder), mel.numpy()
    _, state = stage.step(frames[:, :30], stage.start(seed=1, speed=1.0), finalize=False)
    before = state.to_bytes()
    first, _ = stage.step(frames[:, 30:], state, finalize=True)
    second, _ = stage.step(frames[:, 30:], state, finalize=True)
    assert np.array_equal(first, second) and state.to_bytes() == before


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.1, 1.5, 2.0])
def test_totals_at_any_speed(vocoder: Vocoder, mel: Tensor, speed: float) -> None:
    stage, frames = VocoderStage(vocoder), np.ascontiguousarray(mel[:, :35].numpy())
    for size in (9, 35):
        assert len(run_stage(stage, frames, size, speed)) == int(35 / speed) * SCALE


def test_no_frames_are_no_samples(vocoder: Vocoder) -> None:
    stage, nothing = VocoderStage(vocoder), np.zeros((80, 0), np.float32)
    for speed in (1.0, 1.5):
        wave, state = stage.step(nothing, stage.start(seed=0, speed=speed), finalize=False)
        assert wave.shape == (0,)
        assert stage.step(nothing, state, finalize=True)[0].shape == (0,)
    single = np.zeros((80, 1), np.float32)
    assert len(stage.step(single, stage.start(seed=0, speed=2.0), finalize=True)[0]) == 0


def test_read_only_frames(vocoder: Vocoder, mel: Tensor) -> None:
    frames = mel[:, :12].numpy().copy()
    frames.flags.writeable = False
    stage = VocoderStage(vocoder)
    wave, _ = stage.step(frames, stage.start(seed=0, speed=1.0), finalize=True)
    assert len(wave) == 12 * SCALE


@pytest.mark.parametrize("speed", [0.5, 0.77, 0.9, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("size", [1, 7, 80])
def test_streamed_tempo_equals_whole(mel: Tensor, speed: float, size: int) -> None:
    state, parts = StretchState(mel[:, :0]), []
    pieces = torch.split(mel, size, dim=1)
    for index, piece in enumerate(pieces):
        part, state = stretch_step(piece, state, speed, finalize=index == len(pieces) - 1)
        parts.append(part)
    out, whole = torch.cat(parts, dim=1), stretch(mel, speed)
    assert out.shape == whole.shape == (80, int(FRAMES / speed))
    # The whole one spreads the rounding of its length, `speed` frames at most, over all of it.
    steepest = (mel[:, 1:] - mel[:, :-1]).abs().max()
    drift = FRAMES - speed * whole.shape[1]
    assert 0 <= drift < speed
    assert (out - whole).abs().max() <= drift * steepest + 1e-4

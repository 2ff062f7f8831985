"""The vocoder chunk by chunk: any split of the frames gives the one-shot waveform."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import fake_cuda_graphs
import numpy as np
import pytest
import torch
from parity.cosyvoice3_vocoder import load_vocoder, recorded_noise, stream
from parity.golden import Golden
from paths import GOLDEN
from safetensors.torch import load, save
from torch import Tensor

from evaluation.seams import measure, seams_of
from tritone.acoustic.filter import ChannelsLastFilter, GraphedFilter
from tritone.acoustic.vocoder_stage import VocoderStage
from tritone.arrays import Float32
from tritone.compute import GraphCache, recording
from tritone.errors import InvalidRequest
from tritone.families.cosyvoice3.config import VocoderConfig
from tritone.families.cosyvoice3.hift import HiFT
from tritone.families.cosyvoice3.vocoder import Vocoder

FRAMES, SCALE, HELD_BACK = 68, 480, 5
CLOSE = 2e-5  # of a waveform with standard deviation 0.16; found: at most 1.5e-6
SPLITS = {
    "7 each": [*range(7, FRAMES, 7), FRAMES],
    "as served": [24, 50, FRAMES],
    "less than is held back": [3, 4, FRAMES],
    "nothing now and then": [0, 10, 10, 41, 41, 41, 60, FRAMES, FRAMES],
    "all but the end": [FRAMES, FRAMES],
}


@pytest.fixture(scope="module")
def vocoder() -> Vocoder:
    return fresh()


def fresh() -> Vocoder:
    case = Golden(GOLDEN / "cosyvoice3", "hift_inference")
    return load_vocoder(case, recorded_noise(case))


@pytest.fixture(scope="module")
def mel() -> Tensor:
    """Golden frames, and the same again backwards."""
    frames = Golden(GOLDEN / "cosyvoice3", "hift_inference")["mel"][0]
    return torch.cat([frames, frames.flip(1)], dim=1)


@pytest.fixture(autouse=True)
def no_gradients_and_one_thread() -> Iterator[None]:
    """Threads that share a layer of this size wait for one another, on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("split", SPLITS)
def test_any_split_equals_one_shot(vocoder: Vocoder, mel: Tensor, split: str) -> None:
    whole = vocoder(mel)
    wave = stream(vocoder, mel, SPLITS[split])
    assert wave.shape == whole.shape == (FRAMES * SCALE,)
    assert (wave - whole).abs().max() < CLOSE


@pytest.mark.parametrize("look_right", [0, 2, 6])
def test_other_sizes_stream_as_well(look_right: int) -> None:
    """What a window must hold follows from the sizes of the layers."""
    config = VocoderConfig(
        **{
            **fresh().config.model_dump(),
            "upsample_rates": (6, 2),
            "upsample_kernel_sizes": (9, 6),
            "istft_n_fft": 20,
            "istft_hop": 5,
            "resblock_kernel_sizes": (5, 3),
            "resblock_dilation_sizes": ((1, 2), (4,)),
            "source_resblock_kernel_sizes": (9, 5),
            "source_resblock_dilation_sizes": ((1, 5), (2,)),
            "conv_pre_look_right": look_right,
        }
    )
    generator = torch.Generator().manual_seed(look_right)
    network = HiFT(config).eval()
    for name, weight in network.named_parameters():
        if "snake" not in name:
            weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    network.f0.output.bias.fill_(150.0)
    noise = torch.rand(FRAMES * config.samples_per_frame, 9, generator=generator)
    model = Vocoder(network, 24000, lambda first, count: noise[first : first + count])
    mel = torch.randn(80, FRAMES, generator=generator)
    whole = model(mel)
    assert 0.005 < whole.std() < 0.5
    for split in ("7 each", "as served"):
        wave = stream(model, mel, SPLITS[split])
        assert wave.shape == whole.shape
        assert (wave - whole).abs().max() < 1e-4 * whole.std()


def test_frame_by_frame(vocoder: Vocoder, mel: Tensor) -> None:
    assert vocoder.lookahead == HELD_BACK
    state, waves, out = vocoder.start(0), [], 0
    for fed in range(1, FRAMES + 1):
        wave, state = vocoder.step(mel[:, fed - 1 : fed], state, finalize=False)
        waves.append(wave)
        out += len(wave)
        assert out == max(0, fed - HELD_BACK) * SCALE
    waves.append(vocoder.step(mel[:, :0], state, finalize=True)[0])
    assert len(waves[-1]) == HELD_BACK * SCALE
    assert (torch.cat(waves) - vocoder(mel)).abs().max() < CLOSE


def test_no_less_could_be_held_back(vocoder: Vocoder, mel: Tensor) -> None:
    """The last sample that is out sees the last frame, and none after it."""
    fed = 60
    whole, head = vocoder(mel), (fed - HELD_BACK) * SCALE
    for first, same in ((fed, True), (fed - 1, False)):
        changed = mel.clone()
        changed[:, first:] += 1
        difference = (vocoder(changed) - whole)[:head].abs()
        assert (float(difference.max()) < CLOSE) == same


def test_the_context_is_as_far_as_the_network_looks_back(vocoder: Vocoder, mel: Tensor) -> None:
    """A frame less, and samples come from steps that see the edge of the window."""
    network = vocoder.network
    source, _ = vocoder.source(torch.full((FRAMES,), 150.0), 0, vocoder.start(0).turns)
    spectrum, padded = network.analyse(source[None]), torch.nn.functional.pad(mel, (0, 4))[None]
    whole = network.synthesise(network.filter(padded, spectrum))[0]
    for context, same in ((network.context, True), (network.context - 1, False)):
        first = 40 - context
        window = network.analyse(source[None, first * SCALE :])[..., 1:]
        wave = network.synthesise(network.filter(padded[:, :, first:], window))[0]
        wanted = (FRAMES - 40) * SCALE
        near = len(wave) >= wanted and (wave[-wanted:] - whole[-wanted:]).abs().max() < CLOSE
        assert near == same


def test_seams_are_not_there(vocoder: Vocoder, mel: Tensor) -> None:
    state, waves = vocoder.start(0), []
    for begin in range(0, FRAMES, 20):
        last = begin + 20 >= FRAMES
        wave, state = vocoder.step(mel[:, begin : begin + 20], state, finalize=last)
        waves.append(wave.numpy())
    report = measure(np.concatenate(waves), vocoder(mel).numpy(), seams_of(waves), 24000)
    assert report.seams == 3
    assert report.error_db < -80 and report.level_db < 1e-3 and report.click < 1.001


def test_the_seed_has_no_effect(vocoder: Vocoder, mel: Tensor) -> None:
    waves = [vocoder.step(mel, vocoder.start(seed), finalize=True)[0] for seed in (0, 7)]
    assert torch.equal(*waves)


def test_no_frames_and_a_single_one(vocoder: Vocoder, mel: Tensor) -> None:
    state = vocoder.start(0)
    assert vocoder.step(mel[:, :0], state, finalize=True)[0].shape == (0,)
    assert vocoder(mel[:, :1]).shape == (SCALE,)


def test_state_survives_as_bytes_at_any_point(vocoder: Vocoder, mel: Tensor) -> None:
    stage, frames = VocoderStage(vocoder), mel.numpy()
    kept, sent = stage.start(seed=1, speed=1.3), stage.start(seed=1, speed=1.3).to_bytes()
    edges = [0, 1, 5, 9, 30, 31, 60, FRAMES]
    for begin, end in itertools.pairwise(edges):
        part, last = frames[:, begin:end], end == FRAMES
        expected, kept = stage.step(part, kept, finalize=last)
        wave, after = stage.step(part, stage.unpack(sent), finalize=last)
        sent = after.to_bytes()
        assert np.array_equal(wave, expected)
        assert sent == kept.to_bytes()
        assert len(sent) < 16_000
    stage.unpack(sent)


def test_a_step_leaves_its_state_alone(vocoder: Vocoder, mel: Tensor) -> None:
    stage, frames = VocoderStage(vocoder), mel.numpy()
    _, state = stage.step(frames[:, :60], stage.start(seed=1, speed=1.0), finalize=False)
    before = state.to_bytes()
    waves = [stage.step(frames[:, 60:], state, finalize=True)[0] for _ in range(2)]
    assert np.array_equal(*waves) and state.to_bytes() == before


def replaced(**tensors: Tensor) -> Mapping[str, Any]:
    return {f"vocoder.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "change",
    [
        {"vocoder.mel": None},
        {"vocoder.turns": None},
        replaced(mel=torch.zeros(79, 34)),
        replaced(mel=torch.zeros(80, 33)),
        replaced(mel=torch.zeros(80, 34, dtype=torch.int64)),
        replaced(mel=torch.full((80, 34), torch.nan)),
        replaced(f0=torch.zeros(30)),
        replaced(f0=torch.zeros(0)),
        replaced(f0=torch.full((31,), torch.inf)),
        replaced(turns=torch.zeros(8, dtype=torch.float64)),
        replaced(turns=torch.full((9,), 1e300, dtype=torch.float64)),
        replaced(turns=torch.full((9,), -1.0, dtype=torch.float64)),
        replaced(numbers=torch.tensor([20])),
        replaced(numbers=torch.tensor([-1])),
        replaced(numbers=torch.tensor([1 << 40])),
        replaced(numbers=torch.tensor([55, 0])),
        replaced(numbers=torch.tensor([55.0])),
    ],
    ids=lambda change: "-".join(
        f"{k} {'none' if v is None else [*v.shape]}" for k, v in change.items()
    ),
)
def test_a_state_that_is_none_is_refused(
    vocoder: Vocoder, mel: Tensor, change: dict[str, Tensor | None]
) -> None:
    stage = VocoderStage(vocoder)
    _, state = stage.step(mel[:, :60].numpy(), stage.start(seed=0, speed=1.0), finalize=False)
    tensors = load(state.to_bytes())
    assert stage.unpack(save(tensors)).to_bytes() == state.to_bytes()
    tensors.update(change)
    with pytest.raises(InvalidRequest, match="state: is none that this vocoder gave"):
        stage.unpack(save({name: t for name, t in tensors.items() if t is not None}))


def run_stage(stage: VocoderStage, mel: Float32, size: int, speed: float) -> Float32:
    state, waves = stage.start(seed=0, speed=speed), []
    for begin in range(0, mel.shape[1], size):
        last = begin + size >= mel.shape[1]
        wave, state = stage.step(mel[:, begin : begin + size], state, finalize=last)
        waves.append(wave)
    return np.concatenate(waves)


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.3, 2.0])
def test_totals_at_any_speed(vocoder: Vocoder, mel: Tensor, speed: float) -> None:
    stage, frames = VocoderStage(vocoder), mel[:, :35].numpy()
    for size in (12, 35):
        assert len(run_stage(stage, frames, size, speed)) == int(35 / speed) * SCALE


def test_float32_and_bfloat16_on_a_cpu(vocoder: Vocoder, mel: Tensor) -> None:
    whole = vocoder(mel)
    for dtype, most in ((torch.float32, CLOSE), (torch.bfloat16, 0.05)):
        model = fresh()
        model.filter = ChannelsLastFilter(model.network, dtype)
        waves = [model(mel), stream(model, mel, SPLITS["as served"])]
        for wave in waves:
            assert float((wave - whole).pow(2).mean().sqrt() / whole.std()) < most
        split = float((waves[1] - waves[0]).pow(2).mean().sqrt() / whole.std())
        assert split < most


def test_hops_of_one_size_are_one_recorded_shape(
    vocoder: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = fake_cuda_graphs.plug_in(monkeypatch)
    model, edges = fresh(), [*range(6, 66, 6), FRAMES]
    filter = GraphedFilter(model.network)
    filter._graphs = GraphCache(fake_cuda_graphs.GPU)
    model.filter = filter
    with recording():
        stream(model, torch.zeros_like(mel), edges)
    gpu.allowed = False
    before = sum(graph.replays for graph in gpu.graphs)
    wave = stream(model, mel, edges)
    assert sum(graph.replays for graph in gpu.graphs) - before == len(edges)
    full = len([edge for edge in edges[:-1] if edge - HELD_BACK - 6 >= model.context])
    assert len(gpu.graphs) == len(edges) - full + 1
    assert (wave - vocoder(mel)).abs().max() < CLOSE

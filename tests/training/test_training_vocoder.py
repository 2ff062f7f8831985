"""Training of the vocoder: its distances, the pitch it is given, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trained_work import shared_work, tiny_voice

from training import train_vocoder
from training.config import VoiceConfig
from training.dataset import Track
from training.train_vocoder import SpectralDistance, VocoderTraining, material

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_work(tmp_path_factory)


@pytest.fixture(scope="module")
def voice() -> VoiceConfig:
    voice = tiny_voice()
    sizes = {"frames": 12, "rows": {"heart": 1, "joe": 1}}
    vocoder = voice.vocoder.model_copy(update=sizes)
    return voice.model_copy(update={"vocoder": vocoder})


@pytest.fixture()
def training(work: Path, voice: VoiceConfig, monkeypatch: pytest.MonkeyPatch) -> VocoderTraining:
    monkeypatch.setattr(train_vocoder, "HELD_OUT", 40)
    return VocoderTraining(work, voice)


def test_distances_are_zero_for_equals_and_grow_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.sin(torch.arange(9600) * 0.05)[None]
    noise = torch.randn(1, 9600, generator=generator)
    distance = SpectralDistance(8000.0)
    for measure in (distance.stft, distance.mel):
        found = [float(measure(wav + level * noise, wav)) for level in (0, 1e-4, 1e-3, 1e-2, 0.1)]
        assert found[0] == 0
        assert found == sorted(found) and found[-1] > 2 * found[1] > 0


def test_distances_compare_magnitudes_and_not_phases() -> None:
    wav = 0.1 * torch.randn(1, 9600, generator=torch.Generator().manual_seed(0))
    distance = SpectralDistance(8000.0)
    assert float(distance.stft(-wav, wav)) == pytest.approx(0, abs=1e-6)
    assert float(distance.mel(0.5 * wav, wav)) == pytest.approx(np.log(2), rel=0.02)


def test_material_is_the_first_hours_with_their_pitch(
    work: Path, voice: VoiceConfig, tmp_path: Path
) -> None:
    track = Track(work, "heart")
    found = material(track, tmp_path, 2.0 / 3600, (60.0, 450.0))
    assert found.mel.shape == (100, 80) and found.f0.shape == found.cycles.shape == (100,)
    assert found.wav.shape == (48000,) and found.wav.dtype == np.float32
    assert np.array_equal(found.mel, track.mel[:100].astype(np.float32))
    voiced = found.f0[found.f0 > 0]  # the teacher hums from 200 Hz to 260 Hz
    assert len(voiced) > 60 and np.mean((voiced > 195) & (voiced < 266)) > 0.9
    (path,) = (tmp_path / "vocoder").iterdir()
    np.savez(path, f0=np.full(100, 77.0, np.float32), cycles=np.zeros(100))
    assert material(track, tmp_path, 2.0 / 3600, (60.0, 450.0)).f0[0] == 77  # measured once


def test_the_phase_is_compared_where_there_is_pitch() -> None:
    distance, time = SpectralDistance(8000.0), torch.arange(9600) / 24000
    wav = 0.1 * torch.sin(2 * np.pi * 240 * time)[None]
    late = 0.1 * torch.sin(2 * np.pi * 240 * time - 1.0)[None]
    voiced = torch.ones(1, 20, dtype=torch.bool)
    assert float(distance.phase(wav, wav, voiced)) == 0
    assert float(distance.phase(late, wav, voiced)) == pytest.approx(2 * np.sin(0.5), rel=0.05)
    assert float(distance.phase(-wav, wav, voiced)) == pytest.approx(2, rel=0.02)
    assert float(distance.phase(late, wav, ~voiced)) == 0
    voiced[:, 10:] = False
    late[:, :4000] = wav[:, :4000]
    assert float(distance.phase(late, wav, voiced)) < 0.25, "the second half counts for nothing"


def test_a_batch_is_cut_at_the_same_place(training: VocoderTraining) -> None:
    crops, same = training._batch(3), training._batch(3)
    mel, f0, wav, cycles = crops.mel, crops.f0, crops.wav, crops.cycles
    assert (mel.shape, f0.shape, wav.shape) == ((2, 80, 12), (2, 12), (2, 12 * 480))
    assert cycles.shape == (2, 12) and (cycles[:, 0] >= 0).all() and (cycles[:, 0] < 1).all()
    assert all(
        torch.equal(a, b) for a, b in zip(*(vars(c).values() for c in (same, crops)), strict=True)
    )
    for row, part in enumerate(training.materials):
        (at,) = [i for i in range(len(part.mel)) if np.array_equal(part.mel[i], mel[row, :, 0])]
        assert at + 12 <= len(part.mel) - 40
        assert np.array_equal(part.wav[at * 480 : (at + 12) * 480], wav[row].numpy())
        assert np.array_equal(part.f0[at : at + 12], f0[row].numpy())
        since = part.cycles[at : at + 12] - np.floor(part.cycles[at])
        np.testing.assert_allclose(cycles[row].numpy(), since)
        judged = training._batch(3, validation=True).mel[row, :, 0].numpy()
        assert any(np.array_equal(frame, judged) for frame in part.mel[-40:])


def test_a_few_steps_lower_the_loss(training: VocoderTraining) -> None:
    batch = training._batch(0)
    optimizer = torch.optim.AdamW(training.model.parameters(), lr=0.003)
    found = []
    for _ in range(10):
        torch.manual_seed(1)
        losses = training._losses(batch)
        found.append({name: float(value.detach()) for name, value in losses.items()})
        optimizer.zero_grad()
        torch.autograd.backward(losses["loss"])
        optimizer.step()
    assert torch.equal(training.model.mix_source.weight, torch.ones(1, 9)), "held as it is"
    assert all(found[-1][name] < found[0][name] for name in ("loss", "stft", "mel", "f0"))
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]

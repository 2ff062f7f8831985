"""The vocoder against its discriminators: who learns from what, and on which mel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trained_work import shared_work, tiny_voice

from training.config import VoiceConfig
from training.discriminators import (
    PERIODS,
    RESOLUTIONS,
    Discriminators,
    feature_loss,
    fooling_loss,
    judging_loss,
)
from training.train_polish import PolishTraining, load_polished, write_mels


@pytest.fixture(scope="module")
def judges() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators()


@pytest.fixture(scope="module")
def voice() -> VoiceConfig:
    voice = tiny_voice()
    sizes = {"hours": 1.0, "frames": 16, "rows": {"heart": 1, "joe": 1}}
    vocoder = voice.vocoder.model_copy(update=sizes)
    return voice.model_copy(update={"vocoder": vocoder})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, voice: VoiceConfig) -> Path:
    folder = shared_work(tmp_path_factory)
    write_mels(folder, voice)
    return folder


def wav(seed: int, samples: int = 7680) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(2, samples, generator=generator)


@pytest.mark.parametrize("samples", [7680, 7681])
def test_every_judge_scores_every_length(judges: Discriminators, samples: int) -> None:
    found = judges(wav(0, samples))
    assert len(found) == len(PERIODS) + len(RESOLUTIONS)
    for scores, features in found:
        assert torch.isfinite(scores).all() and len(scores) == 2
        assert len(features) == 4


def test_losses_are_least_where_their_side_wins(judges: Discriminators) -> None:
    ones = [(torch.ones(2, 3), [torch.ones(2)]) for _ in range(8)]
    zeros = [(torch.zeros(2, 3), [torch.zeros(2)]) for _ in range(8)]
    assert float(judging_loss(ones, zeros)) == 0 and float(judging_loss(zeros, ones)) == 16
    assert float(fooling_loss(ones)) == 0 and float(fooling_loss(zeros)) == 8
    assert float(feature_loss(ones, ones)) == 0 and float(feature_loss(ones, zeros)) == 8


def test_judges_learn_nothing_from_being_fooled(judges: Discriminators) -> None:
    made = wav(1).requires_grad_()
    loss = fooling_loss(judges.frozen(made)) + feature_loss(judges(wav(0)), judges.frozen(made))
    loss.backward()
    assert made.grad is not None and float(made.grad.abs().sum()) > 0
    assert all(weight.grad is None for weight in judges.parameters())
    np.testing.assert_array_equal(
        [float(s.sum().detach()) for s, _ in judges.frozen(made)],
        [float(s.sum().detach()) for s, _ in judges(made)],
    )


def test_mels_are_the_flow_s_of_whole_utterances(work: Path, voice: VoiceConfig) -> None:
    for name in voice.speakers:
        mel = np.load(work / "mels" / f"{name}.npy")
        codes = np.load(work / "codes" / f"{name}.npy")
        assert mel.dtype == np.float16 and mel.shape == (2 * len(codes), 80)
        assert np.isfinite(mel).all() and mel.std() > 0


def test_one_step_teaches_both_sides(
    work: Path, voice: VoiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.train_vocoder.HELD_OUT", 40)
    run = PolishTraining(work, voice)
    losses = run.duel_losses(0)
    losses["loss"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    for part in (run.duel.vocoder.conv_post, run.duel.judges.parts[0], run.duel.judges.parts[-1]):
        assert all(weight.grad is not None for weight in part.parameters())
    assert set(run.validate()) >= {"stft", "mel"}


def test_the_vocoder_alone_is_handed_on(work: Path, voice: VoiceConfig) -> None:
    network = load_polished(work, voice).network
    assert not network.training
    assert not any("judges" in name for name in network.state_dict())

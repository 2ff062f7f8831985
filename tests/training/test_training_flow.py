"""Training of the flow: what it is given, which frames see which, and that it learns."""

from pathlib import Path

import pytest
import torch
from trained_work import shared_work, tiny_voice

from training import train_flow
from training.config import FlowTrainingConfig
from training.train_flow import LONGEST_PROMPT, FlowTraining

pytestmark = pytest.mark.slow

ROWS = [(0, 5), (1, 40), (0, 90), (1, 0)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_work(tmp_path_factory)


@pytest.fixture()
def training(work: Path, monkeypatch: pytest.MonkeyPatch) -> FlowTraining:
    monkeypatch.setattr(train_flow, "HELD_OUT", 100)
    return FlowTraining(work, tiny_voice())


def configured(training: FlowTraining, **changes: float) -> FlowTrainingConfig:
    training.config = training.config.model_copy(update=changes)
    return training.config


def test_a_batch_is_codes_what_follows_and_mel(training: FlowTraining) -> None:
    codes, ahead, mel, speaker = training._batch(ROWS)
    assert [tuple(x.shape) for x in (codes, ahead, mel, speaker)] == [
        (4, 80),
        (4, 3),
        (4, 160, 80),
        (4, 192),
    ]
    for row, (which, start) in enumerate(ROWS):
        track = training.tracks[which]
        assert torch.cat([codes, ahead], 1)[row].tolist() == track.codes[start:][:83].tolist()
        assert torch.equal(mel[row], torch.from_numpy(track.mel[2 * start :][:160]).float())
        assert any(torch.equal(speaker[row], vector) for vector in training.voices[which])


def test_a_frame_sees_its_chunk_and_all_before(training: FlowTraining) -> None:
    configured(training, chunked=1.0)
    phases = set()
    for seed in range(6):
        torch.manual_seed(seed)
        tokens, frames = training._masks()
        assert tokens is not None and frames is not None
        sees = tokens.sum(dim=1)  # tokens seen by each: up to the end of its chunk
        phase = 25 - int(sees[0])
        phases.add(phase)
        wanted = [min((i + phase) // 25 * 25 + 25 - phase, 80) for i in range(80)]
        assert sees.tolist() == wanted
        assert all(tokens[i, :count].all() for i, count in enumerate(wanted))
        assert torch.equal(frames, tokens.repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert len(phases) > 3


def test_the_chunk_mask_is_used_for_the_share_asked_for(training: FlowTraining) -> None:
    torch.manual_seed(0)
    configured(training, chunked=0.0)
    assert all(training._masks() == (None, None) for _ in range(20))
    configured(training, chunked=0.7)
    drawn = [training._masks()[0] is not None for _ in range(300)]
    assert abs(sum(drawn) / 300 - 0.7) < 0.08


def test_a_prompt_is_the_beginning_of_the_mel(training: FlowTraining) -> None:
    torch.manual_seed(0)
    configured(training, prompted=0.5)
    mel = 1 + torch.rand(400, 50, 80)
    prompt = training._prompt(mel)
    lengths = (prompt != 0).all(dim=2).sum(dim=1)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(prompt[row, :length], mel[row, :length])
        assert not prompt[row, length:].any()
    assert abs(float((lengths > 0).float().mean()) - 0.5) < 0.08
    assert LONGEST_PROMPT * 50 - 3 < int(lengths.max()) <= LONGEST_PROMPT * 50
    configured(training, prompted=0.0)
    assert not training._prompt(mel).any()


def test_unconditional_rows_are_given_nothing(training: FlowTraining) -> None:
    """With every row unconditional the velocity does not depend on speaker or prompt."""
    configured(training, unconditional=1.0, prompted=1.0)

    def velocity_loss() -> float:
        torch.manual_seed(3)
        return float(training._losses(ROWS, encoder_only=False)["flow"].detach())

    first = velocity_loss()
    training.voices = [torch.randn_like(vectors) for vectors in training.voices]
    assert velocity_loss() == first
    configured(training, unconditional=0.0)
    assert velocity_loss() != first


def test_a_few_steps_lower_the_loss(training: FlowTraining) -> None:
    optimizer = torch.optim.AdamW(training.model.parameters(), lr=0.01)
    found = []
    for _ in range(40):
        torch.manual_seed(1)  # the same times, noise and masks
        losses = training._losses(ROWS, encoder_only=False)
        found.append({name: float(value.detach()) for name, value in losses.items()})
        optimizer.zero_grad()
        torch.autograd.backward(losses["loss"])
        optimizer.step()
    first, last = found[0], found[-1]
    assert all(last[name] < 0.9 * first[name] for name in ("loss", "flow", "prior"))
    weight = training.config.prior_weight
    assert first["loss"] == pytest.approx(first["flow"] + weight * first["prior"], rel=1e-5)


def test_validation_does_not_depend_on_the_step(training: FlowTraining) -> None:
    first = training.validate()
    torch.rand(7)
    assert training.validate() == first and set(first) == {"loss", "flow", "prior"}


def test_the_first_steps_are_the_encoders_alone(training: FlowTraining) -> None:
    configured(training, encoder_steps=1)
    first, second = training.losses(0), training.losses(1)
    assert set(first) == {"loss", "prior"} and set(second) == {"loss", "flow", "prior"}
    torch.autograd.backward(first["loss"])
    parts = training.model.flow
    assert parts.mel_projection.weight.grad is not None
    assert all(p.grad is None for p in parts.estimator.parameters())

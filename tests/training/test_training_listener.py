"""The listener: its file gives what the network gives, and it learns what codes stand for."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from trained_work import shared_work, tiny_voice

from training import train_listener
from training.fsq import CODES, digits_of
from training.train_listener import (
    HELD_OUT,
    Listener,
    ListenerTraining,
    load_listener,
    write_listener,
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_work(tmp_path_factory)


@pytest.mark.parametrize("tokens", [1, 3, 60])
def test_the_file_gives_the_network_s_probabilities(
    work: Path, tmp_path: Path, tokens: int
) -> None:
    listener = load_listener(work)
    write_listener(listener, tmp_path / "listener.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "listener.onnx")
    codes = torch.randint(CODES, (1, tokens), generator=torch.Generator().manual_seed(1))
    digits = (digits_of(codes) - 1).float().mT.numpy()
    (found,) = session.run(None, {"digits": digits})
    with torch.inference_mode():
        wanted = listener(codes).log_softmax(dim=2).numpy()
    assert found.shape == (1, 2 * tokens, listener.classes)
    np.testing.assert_allclose(found, wanted, atol=0.05)  # its weights are bytes
    np.testing.assert_allclose(np.exp(found).sum(axis=2), 1, atol=1e-4)


def test_two_frames_of_a_code_may_differ() -> None:
    torch.manual_seed(0)
    scores = Listener(5)(torch.tensor([[7, 900, 4000]]))
    assert scores.shape == (1, 6, 5) and not torch.allclose(scores[:, 0], scores[:, 1])


def test_it_learns_from_good_and_bad_recordings(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_listener, "HELD_OUT", 30)
    monkeypatch.setattr(train_listener, "TOKENS", 20)
    assert HELD_OUT > 30
    run = ListenerTraining(work, tiny_voice())
    optimizer = torch.optim.AdamW(run.model.parameters(), lr=0.01)
    seen = []
    for step in range(60):
        losses = run.losses(step)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        seen.append(float(losses["loss"].detach()))
    assert np.mean(seen[-5:]) < 0.85 * np.mean(seen[:3])
    assert 0 <= run.validate()["accuracy"] <= 1

"""The loop that all stages share: schedule, resuming, averaging, steps that are skipped."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.config import LoopConfig
from training.loop import Training, learning_rate, trained_state

CONFIG = LoopConfig(
    steps=7, batch=4, learning_rate=0.05, warmup=2, ema=0.9, save_every=3, log_every=2
)


class Killed(Exception):
    pass


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Dropout(0.5), nn.Linear(5, 1))


def losses_of(module: nn.Module, stop: int = -1) -> Callable[[int], Mapping[str, Tensor]]:
    """Random rows whose sum is to be told; raises before step `stop`."""

    def losses(step: int) -> dict[str, Tensor]:
        if step == stop:
            raise Killed
        rows = torch.randn(CONFIG.batch, 3)
        return {"loss": (module(rows)[:, 0] - rows.sum(dim=1)).square().mean()}

    return losses


def run(folder: Path, config: LoopConfig = CONFIG, stop: int = -1) -> nn.Module:
    module = network()
    Training(folder, module, config).run(losses_of(module, stop), lambda: {"loss": 1.0})
    return module


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole").state_dict()
    with pytest.raises(Killed):
        run(tmp_path / "parts", stop=5)
    resumed = run(tmp_path / "parts").state_dict()
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())
    averages = [trained_state(tmp_path / name) for name in ("whole", "parts")]
    assert all(torch.equal(averages[1][key], value) for key, value in averages[0].items())
    assert not torch.equal(whole["0.weight"], network().state_dict()["0.weight"])


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path)
    module = network()
    Training(tmp_path, module, CONFIG).run(losses_of(module, stop=7), dict)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 7
    assert all(torch.equal(state["module"][k], v) for k, v in module.state_dict().items())


def test_log_has_losses_and_validation(tmp_path: Path) -> None:
    run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6]
    assert [line["step"] for line in lines if "val_loss" in line] == [3, 6, 7]
    assert all(line["gradient"] > 0 for line in lines if "loss" in line)


def test_learning_rate_warms_up_and_falls_to_a_twentieth() -> None:
    config = LoopConfig(steps=1000, batch=1, learning_rate=0.2, warmup=100)
    rates = [learning_rate(step, config) for step in range(1200)]
    assert rates[0] == pytest.approx(0.002) and rates[99] == pytest.approx(0.2)
    assert rates[100] == pytest.approx(0.2)
    assert rates[550] == pytest.approx(0.2 * (0.05 + 0.95 / 2))
    assert rates[1000:] == pytest.approx([0.01] * 200)
    assert rates[100:1001] == sorted(rates[100:1001], reverse=True)


def test_trained_state_is_the_average_where_there_is_one(tmp_path: Path) -> None:
    averaged = run(tmp_path / "averaged").state_dict()
    plain = run(tmp_path / "plain", CONFIG.model_copy(update={"ema": 0.0})).state_dict()
    assert torch.equal(averaged["0.weight"], plain["0.weight"])
    found = trained_state(tmp_path / "averaged")["0.weight"]
    start = network().state_dict()["0.weight"]
    assert not torch.equal(found, averaged["0.weight"])
    assert (found - start).norm() < (averaged["0.weight"] - start).norm()
    assert torch.equal(trained_state(tmp_path / "plain")["0.weight"], plain["0.weight"])


def test_trained_state_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"state\.pt does not exist: run the stage"):
        trained_state(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_without_a_finite_gradient_is_skipped(bad: float, tmp_path: Path) -> None:
    module, before = network(), []
    losses = losses_of(module)

    def broken(step: int) -> dict[str, Tensor]:
        before.append(module.get_parameter("0.weight").detach().clone())
        return {"loss": losses(step)["loss"] * (bad if step == 3 else 1.0)}

    Training(tmp_path, module, CONFIG).run(broken, dict)
    same = [torch.equal(a, b) for a, b in pairwise(before)]
    assert same == [False, False, False, True, False, False]
    assert all(torch.isfinite(value).all() for value in trained_state(tmp_path).values())


def test_only_matrices_decay(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"weight_decay": 0.3})
    groups = Training(tmp_path, network(), config).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {p.ndim for p in groups[0]["params"]} == {2}
    assert {p.ndim for p in groups[1]["params"]} == {1}

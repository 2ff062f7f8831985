"""When fused operators are taken, and what is said where they are not."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fused_flow import euler

from tritone import kernel_choice
from tritone.acoustic.fused import trial
from tritone.errors import EnvironmentProblem
from tritone.families.cosyvoice2 import estimator as cosyvoice2


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    notes: list[str] = []
    monkeypatch.setattr(kernel_choice, "note", notes.append)
    return notes


def on_gpu(monkeypatch: pytest.MonkeyPatch, result: float | Exception) -> Any:
    """An estimator there, whose trial ends so."""

    def difference(estimator: Any) -> float:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(kernel_choice, "find_spec", lambda name: name)
    monkeypatch.setattr(trial, "difference", difference)
    return SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.bfloat16)


@pytest.mark.parametrize("asked", ["auto", "triton"])
def test_kernels_that_pass_are_taken(
    asked: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial.choose(asked, on_gpu(monkeypatch, 0.01))
    assert said == ["kernels triton"]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (0.3, "they differ from torch's by 30%"),
        (float("nan"), "they differ from torch's by nan%"),
        (RuntimeError("no C compiler"), "they failed with RuntimeError: no C compiler"),
    ],
)
def test_kernels_that_fail_are_not(
    result: float | Exception, reason: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = on_gpu(monkeypatch, result)
    assert not trial.choose("auto", estimator)
    assert said == [f"kernels torch: {reason}"]
    with pytest.raises(EnvironmentProblem, match="gpu_kernels is triton: " + reason[:20]):
        trial.choose("triton", estimator)


def test_no_trial_where_nothing_is_asked_for(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not trial.choose("torch", on_gpu(monkeypatch, AssertionError()))
    assert not said


def test_float32_only_by_name(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = on_gpu(monkeypatch, 0.0)
    estimator.dtype = torch.float32
    assert not trial.choose("auto", estimator)
    assert trial.choose("triton", estimator)


def test_a_flow_on_a_cpu(said: list[str]) -> None:
    assert not trial.choose("auto", euler(cosyvoice2).estimator)
    assert said == ["kernels torch: the flow is on cpu"]


def test_without_the_package(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = on_gpu(monkeypatch, 0.0)
    monkeypatch.setattr(kernel_choice, "find_spec", lambda name: None)
    assert not trial.choose("auto", estimator)
    assert said == ["kernels torch: the package triton is not installed"]


def test_an_unknown_name() -> None:
    with pytest.raises(EnvironmentProblem, match="gpu_kernels is 'cuda'; take one of auto, triton"):
        trial.choose("cuda", euler(cosyvoice2).estimator)


@pytest.mark.slow
def test_a_trial_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = euler(cosyvoice2).estimator
    assert trial.difference(estimator) < 1e-4
    monkeypatch.setattr(cosyvoice2, "added_product", lambda x, weight, bias, residual: residual)
    assert trial.difference(estimator) > 0.1


@pytest.mark.parametrize("asked", ["tritn", "triton"])
def test_what_a_cpu_cannot_have_is_refused_by_name(asked: str) -> None:
    with pytest.raises(EnvironmentProblem, match=f"gpu_kernels is .?{asked}"):
        trial.check(asked, pooled=False)
    trial.check("auto", pooled=False)

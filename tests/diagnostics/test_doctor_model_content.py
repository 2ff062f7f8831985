"""The content of a model directory as the doctor sees it: weights, text, models, checksums."""

from pathlib import Path

import pytest
from voice_copy import found, voice_copy

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import model
from tritone.diagnostics.doctor.child import ANSWER
from tritone.diagnostics.doctor.isolated import Outcome
from tritone.diagnostics.doctor.target import Target
from tritone.families.cosyvoice2 import doctor


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return voice_copy(tmp_path)


@pytest.mark.parametrize("name", doctor.WEIGHTS)
def test_a_truncated_weight_file_is_named_with_its_sizes(target: Target, name: str) -> None:
    path = target.model_dir / name
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole - 1000)
    finding = found("model.weights", target)
    assert finding.status is Status.FAIL
    assert f"{path} is cut short: {whole - 1000} bytes, {whole} expected" in finding.text


def test_bytes_after_the_data_are_a_fault_too(target: Target) -> None:
    with (target.model_dir / "flow.safetensors").open("ab") as file:
        file.write(b"more")
    finding = found("model.weights", target)
    assert finding.status is Status.FAIL
    assert "flow.safetensors is not a safetensors file" in finding.text


def test_a_damaged_tokenizer_is_named(target: Target) -> None:
    (target.model_dir / "tokenizer.json").write_text("{}")
    finding = found("model.text", target)
    assert finding.status is Status.FAIL
    assert "tokenizer.json: not a tokenizer file" in finding.text


@pytest.mark.parametrize(
    "outcome, sign",
    [
        (Outcome(None, 25.0, "", 'Current thread 1:\n  File "normalize.py", line 7'), "normalize"),
        (Outcome(-11, 1.0, "", "Segmentation fault"), "status -11: Segmentation fault"),
        (Outcome(1, 1.0, "", "ModuleNotFoundError: No module named 'wetext'"), "'wetext'"),
        (
            Outcome(0, 1.0, f'{ANSWER}{{"seconds": 1, "spoken": {{"en": "3 Nov"}}, "ids": 3}}', ""),
            "is read as ['3 Nov']",
        ),
    ],
)
def test_text_packages_that_hang_crash_or_do_nothing_are_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, sign: str
) -> None:
    monkeypatch.setattr(model, "call", lambda *_, limit_s: outcome)
    finding = found("model.text", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text
    assert finding.fix

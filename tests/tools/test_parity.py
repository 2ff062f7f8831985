"""The golden comparison as a command: it passes on ours and fails on a planted error."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from paths import PROJECT
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.slow

GOLDEN = PROJECT / "tests" / "golden" / "token2wav"
COSYVOICE3 = PROJECT / "tests" / "golden" / "cosyvoice3"
FRONTEND = PROJECT / "tests" / "golden" / "llm_frontend"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "check_parity", PROJECT / "scripts" / "check_parity.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(
    script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> tuple[int, list[str]]:
    monkeypatch.setattr(sys, "argv", ["check_parity.py", str(folder)])
    status = script.main()
    return status, capsys.readouterr().out.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few quick cases with the weights, free to be changed."""
    for name in ("encoder_stream_chunk", "estimator_stream_chunk", "hift_decode", "hift_f0"):
        for suffix in (".json", ".safetensors"):
            shutil.copy(GOLDEN / (name + suffix), tmp_path)
    for name in ("flow_weights", "hift_weights"):
        for suffix in (".json", ".safetensors"):
            shutil.copy(GOLDEN / (name + suffix), tmp_path)
    return tmp_path


def scale(folder: Path, weights: str, name: str, factor: float) -> None:
    path = folder / f"{weights}.safetensors"
    state = load_file(path)
    assert name in state
    state[name] = state[name] * factor
    save_file(state, path)


def test_every_golden_case_passes_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/check_parity.py", str(GOLDEN)],
        capture_output=True,
        text=True,
        timeout=280,
        # threads of several processes would wait for one another
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "30 cases, 0 missed"
    assert all(line.startswith("ok ") for line in lines[:-1])
    for case in ("flow_full", "flow_stream incremental, 7", "hift_decode", "hift_legacy_names.pt"):
        assert any(case in line for line in lines), case


def test_front_end_and_language_model_have_all_their_cases(script, monkeypatch, capsys) -> None:
    status, lines = run(script, FRONTEND, monkeypatch, capsys)
    assert status == 0 and lines[-1] == "210 cases, 0 missed"


def test_a_golden_folder_is_known_by_what_is_in_it(script, monkeypatch, capsys) -> None:
    status, lines = run(script, COSYVOICE3, monkeypatch, capsys)
    assert status == 0 and all(line.startswith("ok ") for line in lines[:-1])
    for case in ("lookahead, the end", "estimator_stream_padded", "flow_stream incremental, 7"):
        assert any(case in line for line in lines), case


def test_untouched_weights_pass(script, folder, monkeypatch, capsys) -> None:
    status, lines = run(script, folder, monkeypatch, capsys)
    assert status == 0 and lines[-1] == "4 cases, 0 missed"


@pytest.mark.parametrize(
    ("weights", "name", "missed"),
    [
        ("flow_weights", "encoder.after_norm.weight", "encoder_stream_chunk"),
        ("flow_weights", "decoder.estimator.final_proj.weight", "estimator_stream_chunk"),
        ("hift_weights", "conv_post.bias", "hift_decode"),
        ("hift_weights", "f0_predictor.classifier.weight", "hift_f0"),
    ],
)
def test_a_planted_error_is_found(
    weights: str, name: str, missed: str, script, folder, monkeypatch, capsys
) -> None:
    scale(folder, weights, name, 1.001)
    status, lines = run(script, folder, monkeypatch, capsys)
    assert status == 1 and lines[-1] == "4 cases, 1 missed"
    assert [line.split()[4] for line in lines if line.startswith("MISS")] == [missed]


def test_values_that_are_not_numbers_never_pass(script, folder, monkeypatch, capsys) -> None:
    path = folder / "hift_decode.safetensors"
    tensors = load_file(path)
    tensors["wav"] = torch.full_like(tensors["wav"], torch.nan)
    save_file(tensors, path)
    status, lines = run(script, folder, monkeypatch, capsys)
    assert status == 1
    assert any("MISS" in line and "hift_decode" in line for line in lines)


def test_another_length_never_passes(script, folder, monkeypatch, capsys) -> None:
    path = folder / "hift_f0.safetensors"
    tensors = load_file(path)
    tensors["f0"] = tensors["f0"][:, 1:].contiguous()
    save_file(tensors, path)
    status, lines = run(script, folder, monkeypatch, capsys)
    assert status == 1 and any("MISS" in line and "hift_f0" in line for line in lines)


def test_a_folder_without_cases_is_no_success(script, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["check_parity.py", str(tmp_path)])
    assert script.main() == 2
    assert "holds no golden case" in capsys.readouterr().err


def test_a_folder_of_the_other_vocoder_is_known_by_its_content(
    script, tmp_path, monkeypatch, capsys
) -> None:
    for name in ("hift_f0", "hift_weights"):
        for suffix in (".json", ".safetensors"):
            shutil.copy(GOLDEN.parent / "cosyvoice3" / (name + suffix), tmp_path)
    (tmp_path / "llm_meta.json").write_text("{}")
    status, lines = run(script, tmp_path, monkeypatch, capsys)
    assert status == 0 and lines[-1] == "3 cases, 0 missed"
    scale(tmp_path, "hift_weights", "f0_predictor.classifier.weight", 1.001)
    status, lines = run(script, tmp_path, monkeypatch, capsys)
    assert status == 1 and lines[-1] == "3 cases, 3 missed"

"""The content of a model directory as the doctor sees it: weights, text, models, checksums."""

import json
from pathlib import Path

import pytest
from voice_copy import change_config, found, voice_copy

from tritone.checkpoints.download_record import Record, RecordedFile, write_record
from tritone.checkpoints.verify import sha256_of
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import model_content, model_folder, model_probe
from tritone.diagnostics.doctor.isolated import Outcome
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return voice_copy(tmp_path)


def in_this_process(name: str, folder: Path, limit_s: float) -> Outcome:
    try:
        answer = model_probe.PROBES[name](folder)
    except ModelDirectoryError as error:
        return Outcome(model_probe.REFUSED, 0.0, "", str(error))
    return Outcome(0, 0.0, json.dumps(answer), "")


@pytest.mark.parametrize("name", model_folder.WEIGHTS)
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
    assert "flow.safetensors is no whole safetensors file" in finding.text


def test_weights_fit_the_modules_of_the_configuration(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the probe's process, but in this one, which has torch already."""
    monkeypatch.setattr(model_content, "probe", in_this_process)
    finding = found("model.weights", target)
    assert finding.status is Status.PASS
    assert "flow 4.39, vocoder 1.05, language model 6.13" in finding.text


@pytest.mark.parametrize(
    "part, change, sign",
    [
        ("llm", {"intermediate_size": 700}, "mlp.gate_proj.weight is [768, 192]"),
        ("llm", {"num_hidden_layers": 7}, "layers.6.input_layernorm.weight is missing"),
        ("flow", {"spk_embed_dim": 100}, "flow.safetensors has speaker_projection.weight"),
        ("vocoder", {"base_channels": 64}, "vocoder.safetensors has "),
    ],
)
def test_weights_of_another_configuration_are_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, part: str, change: dict, sign: str
) -> None:
    monkeypatch.setattr(model_content, "probe", in_this_process)
    numbers = json.loads((target.model_dir / "config.json").read_text())[part]
    change_config(target, **{part: {**numbers, **change}})
    finding = found("model.weights", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text
    assert "scripts/convert.py" in finding.fix


def test_a_damaged_model_for_cloning_is_named(target: Target) -> None:
    (target.model_dir / "speech_tokenizer.onnx").write_bytes(b"not an ONNX file")
    finding = found("model.cloning", target)
    assert finding.status is Status.FAIL
    assert "speech_tokenizer.onnx: cannot be loaded" in finding.text


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
            Outcome(0, 1.0, '{"seconds": 1, "spoken": {"en": "3 Nov"}, "ids": 3}', ""),
            "is read as ['3 Nov']",
        ),
    ],
)
def test_text_packages_that_hang_crash_or_do_nothing_are_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, sign: str
) -> None:
    monkeypatch.setattr(model_content, "probe", lambda *_: outcome)
    finding = found("model.text", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text
    assert finding.fix


def test_recorded_checksums_are_compared(target: Target) -> None:
    folder = target.model_dir
    files = ("config.json", "flow.safetensors")
    recorded = {
        name: RecordedFile(
            size=(folder / name).stat().st_size, sha256=sha256_of(folder / name), origin="here"
        )
        for name in files
    }
    write_record(folder, Record(release="other", revision=None, files=recorded))
    assert "2 files" in found("model.checksums", target).text
    content = bytearray((folder / "flow.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "flow.safetensors").write_bytes(content)
    finding = found("model.checksums", target)
    assert finding.status is Status.FAIL
    assert "flow.safetensors has the wrong content" in finding.text


def test_checksums_without_time_say_how_far_they_came(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = RecordedFile(size=1, sha256="0", origin="here")
    write_record(
        target.model_dir, Record(release="other", revision=None, files={"config.json": entry})
    )
    monkeypatch.setattr(model_content, "_CHECKSUM_S", -1)
    finding = found("model.checksums", target)
    assert finding.status is Status.WARN
    assert "0 of 1 files" in finding.text

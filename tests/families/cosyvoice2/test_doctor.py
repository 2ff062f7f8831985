"""The doctor's checks of a CosyVoice2 model directory, each with its fault planted."""

import shutil
from pathlib import Path

import pytest
from voice_copy import change_config, change_section, found, in_this_process, voice_copy
from waiting import HANG_S

from tritone.checkpoints.release import Record, RecordedFile, write_record
from tritone.checkpoints.verify import sha256_of
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import model
from tritone.diagnostics.doctor.target import Target
from tritone.families.cosyvoice2 import doctor
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.encoder_files import SPEAKER_ENCODER_NAME, SPEECH_TOKENIZER_NAME
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(model, "PROBE_S", HANG_S)
    return voice_copy(tmp_path)


def test_file_names_are_those_that_the_loaders_use() -> None:
    llm = f"{LLM_DIR}/{WEIGHTS_NAME}"
    assert (FLOW_FILE, VOCODER_FILE, llm) == doctor.WEIGHTS
    assert doctor.CLONING == (SPEECH_TOKENIZER_NAME, SPEAKER_ENCODER_NAME)


@pytest.mark.parametrize("name", ["tokenizer.json", "phonemes.json", *doctor.WEIGHTS])
def test_a_missing_file_is_named(target: Target, name: str) -> None:
    (target.model_dir / name).unlink()
    finding = found("model.files", target)
    assert finding.status is Status.FAIL
    assert f"lacks {name}" in finding.text
    assert "tritone convert" in finding.fix


def test_without_the_models_for_cloning_it_still_speaks(target: Target) -> None:
    (target.model_dir / "speaker_encoder.onnx").unlink()
    finding = found("model.files", target)
    assert finding.status is Status.WARN
    assert "speaker_encoder.onnx" in finding.text
    assert found("model.cloning", target).status is Status.SKIP


def test_weights_fit_the_modules_of_the_configuration(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "call", in_this_process)
    finding = found("model.shapes", target)
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
    monkeypatch.setattr(model, "call", in_this_process)
    change_section(target, **{part: {**target.section[part], **change}})
    finding = found("model.shapes", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text
    assert "tritone convert" in finding.fix


def test_a_damaged_model_for_cloning_is_named(target: Target) -> None:
    (target.model_dir / "speech_tokenizer.onnx").write_bytes(b"not an ONNX file")
    finding = found("model.cloning", target)
    assert finding.status is Status.FAIL
    assert "speech_tokenizer.onnx: cannot be loaded" in finding.text


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
    monkeypatch.setattr(doctor, "_CHECKSUM_S", -1)
    finding = found("model.checksums", target)
    assert finding.status is Status.WARN
    assert "0 of 1 files" in finding.text


def test_without_voices_there_must_be_cloning(target: Target) -> None:
    shutil.rmtree(target.model_dir / "voices")
    (target.model_dir / "speech_tokenizer.onnx").unlink()
    finding = found("model.files", target)
    assert finding.status is Status.FAIL
    assert finding.text == "no voice is registered, and none can be cloned"


def test_a_directory_of_another_family_is_left_alone(target: Target) -> None:
    change_config(target, family="another")
    for check in doctor.CHECKS[:3]:
        finding = check(target)
        assert finding.status is Status.SKIP
        assert "is of the family another" in finding.text

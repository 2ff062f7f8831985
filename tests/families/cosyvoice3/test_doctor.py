"""The doctor on a CosyVoice3 model directory and on a release, with faults planted."""

import shutil
from pathlib import Path

import pytest
from conversions import convert
from cosyvoice3_release import cosyvoice3_release
from released_checkpoint import released_checkpoint
from voice_copy import CHECKS, change_config, change_section, found, in_this_process

from tritone.checkpoints.release import RECORD_NAME, Record, RecordedFile, write_record
from tritone.checkpoints.verify import sha256_of
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import model
from tritone.diagnostics.doctor.target import Target
from tritone.families.cosyvoice2 import released_tokenizer as cosyvoice2
from tritone.families.cosyvoice3.released_files import COSYVOICE3

pytestmark = pytest.mark.slow

DOWNLOAD = f"tritone download --release {COSYVOICE3.name} --dir "


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cosyvoice3_release(tmp_path_factory.mktemp("released") / "tiny")


@pytest.fixture(scope="module")
def converted(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(released, tmp_path_factory.mktemp("converted"))


@pytest.fixture
def target(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(model, "call", in_this_process)
    return Target(model_dir=shutil.copytree(converted, tmp_path / "model"))


def test_a_whole_directory_passes(target: Target) -> None:
    findings = {name: check(target) for name, check in CHECKS.items()}
    assert findings.pop("model.checksums").status is Status.SKIP
    assert {name: f.text for name, f in findings.items() if f.status is not Status.PASS} == {}
    assert "cosyvoice3, 24000 Hz, default voice my_spk" in findings["model.config"].text
    assert "flow 0.70, vocoder 0.11, language model 0.50" in findings["model.shapes"].text
    assert "all 7 files" in findings["model.files"].text


def test_weights_of_another_configuration_are_named(target: Target) -> None:
    change_section(target, flow={**target.section["flow"], "lookahead_channels": 25})
    finding = found("model.shapes", target)
    assert finding.status is Status.FAIL
    assert "flow.safetensors has lookahead.ahead.weight [24, 320]" in finding.text


def test_a_damaged_model_for_cloning_is_named(target: Target) -> None:
    (target.model_dir / "speech_tokenizer.onnx").write_bytes(b"not an ONNX file")
    finding = found("model.cloning", target)
    assert finding.status is Status.FAIL
    assert "speech_tokenizer.onnx: cannot be loaded" in finding.text


def test_the_tokenizer_of_the_other_generation_is_named(target: Target, released: Path) -> None:
    """Its ids mean nothing else to the language model, but it reads phonemes as letters."""
    base = released / "CosyVoice-BlankEN"
    cosyvoice2.build_base_tokenizer(base).save(str(target.model_dir / "tokenizer.json"))
    finding = found("model.text", target)
    assert finding.status is Status.FAIL
    assert "284 ids, but in config.json speech starts at 545" in finding.text


def test_a_lost_file_is_named(target: Target) -> None:
    (target.model_dir / "vocoder.safetensors").unlink()
    assert "lacks vocoder.safetensors" in found("model.files", target).text


def test_the_name_of_the_other_generation_is_named(target: Target) -> None:
    change_config(target, family="cosyvoice2")
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert "family is 'cosyvoice2', but the section is that of 'cosyvoice3'" in finding.text
    assert found("model.shapes", target).status is Status.FAIL


def test_a_release_is_compared_with_what_its_download_recorded(
    released: Path, tmp_path: Path
) -> None:
    target = Target(model_dir=shutil.copytree(released, tmp_path / "release"))
    folder = target.model_dir
    finding = found("model.checksums", target)
    assert finding.status is Status.SKIP
    assert finding.text == f"no checksums of {COSYVOICE3.name} are known; its download records them"
    size, digest = (folder / "flow.pt").stat().st_size, sha256_of(folder / "flow.pt")
    files = {"flow.pt": RecordedFile(size=size, sha256=digest, origin="here")}
    write_record(folder, Record(release=COSYVOICE3.name, revision=None, files=files))
    assert "1 files" in found("model.checksums", target).text
    (folder / "flow.pt").write_bytes(bytes(size))
    finding = found("model.checksums", target)
    assert finding.status is Status.FAIL
    assert "flow.pt has the wrong content" in finding.text
    assert finding.fix == f"{DOWNLOAD}{folder}"
    (folder / RECORD_NAME).write_text("{")
    finding = found("model.checksums", target)
    assert finding.status is Status.FAIL and finding.fix == f"{DOWNLOAD}{folder}"


def test_a_release_of_the_first_generation_is_compared_with_the_published_digests(
    tmp_path: Path,
) -> None:
    target = Target(model_dir=released_checkpoint(tmp_path / "release"))
    finding = found("model.checksums", target)
    assert finding.status is Status.FAIL
    assert finding.fix == f"tritone download --release CosyVoice2-0.5B --dir {target.model_dir}"

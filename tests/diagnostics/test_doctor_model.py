"""The doctor's checks of a model directory, each with its fault planted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from released_checkpoint import released_checkpoint
from voice_copy import CHECKS, change_config, change_section, found, voice_copy

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import model
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.voices import VoiceStore, save_voice

pytestmark = pytest.mark.slow

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return voice_copy(tmp_path)


def test_a_whole_directory_passes(target: Target) -> None:
    """Through the doctor itself; the two checks that start torch have tests of their own."""
    cheap = [c for c in CHECKS.values() if c.name not in ("model.shapes", "model.cloning")]
    findings = {d.check.name: d.finding for d in examine(cheap, target)}
    assert findings.pop("model.checksums").status is Status.SKIP
    assert {name: f.text for name, f in findings.items() if f.status is not Status.PASS} == {}
    assert "third of november" in findings["model.text"].text


def test_without_a_directory_one_check_fails_and_the_others_skip(tmp_path: Path) -> None:
    target = Target(model_dir=tmp_path / "nowhere")
    findings = {name: check(target) for name, check in CHECKS.items()}
    config = findings.pop("model.config")
    assert config.status is Status.FAIL
    assert "does not exist" in config.text
    assert "make model" in config.fix
    assert len(findings) > 8
    assert {f.status for f in findings.values()} == {Status.SKIP}


def test_a_release_is_to_be_converted(tmp_path: Path) -> None:
    target = Target(model_dir=released_checkpoint(tmp_path / "CosyVoice2-tiny"))
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert "not yet a model directory" in finding.text
    assert f"tritone convert {target.model_dir}" in finding.fix
    assert found("model.weights", target).status is Status.SKIP
    checksums = found("model.checksums", target)  # no file of a tiny one is the released one
    assert checksums.status is Status.FAIL
    assert "tritone download" in checksums.fix


@pytest.mark.parametrize(
    "changes, sign",
    [
        ({"sample_rat": 1}, "sample_rat: Extra inputs"),
        ({"family": "cosyvoice9"}, "family 'cosyvoice9' is unknown; known are cosyvoice2"),
        ({"family": "../x"}, "family '../x' is unknown"),
    ],
)
def test_a_wrong_config_names_the_key(target: Target, changes, sign: str) -> None:
    change_config(target, **changes)
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text


def test_a_wrong_number_of_the_family_names_the_key(target: Target) -> None:
    change_section(target, flow=None)
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert "flow: Input should be" in finding.text


def test_an_lfs_pointer_is_named(target: Target) -> None:
    (target.model_dir / "vocoder.safetensors").write_bytes(POINTER)
    finding = found("model.lfs", target)
    assert finding.status is Status.FAIL
    assert "vocoder.safetensors" in finding.text
    assert "lfs pull" in finding.fix
    assert "vocoder.safetensors" in found("model.weights", target).text


@pytest.mark.parametrize(
    "left", ["flow.safetensors.incomplete", "a.aria2", "llm/._____temp/b", ".download/c"]
)
def test_what_a_broken_off_download_left_is_named(target: Target, left: str) -> None:
    (target.model_dir / left).parent.mkdir(exist_ok=True)
    (target.model_dir / left).write_bytes(b"half")
    finding = found("model.downloads", target)
    assert finding.status is Status.WARN
    assert left.removesuffix("/b").removesuffix("/c") in finding.text


def test_an_empty_file_is_named(target: Target) -> None:
    (target.model_dir / "flow.safetensors").write_bytes(b"")
    finding = found("model.downloads", target)
    assert finding.status is Status.FAIL
    assert "zero bytes: flow.safetensors" in finding.text


def test_a_missing_default_voice_is_named(target: Target) -> None:
    (target.model_dir / "voices" / "heart.safetensors").unlink()
    finding = found("model.voices", target)
    assert finding.status is Status.FAIL
    assert "default voice 'heart' of config.json is missing" in finding.text
    assert "registered voices: joe" in finding.text


def test_a_damaged_voice_is_named(target: Target) -> None:
    path = target.model_dir / "voices" / "joe.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    finding = found("model.voices", target)
    assert finding.status is Status.FAIL
    assert "joe.safetensors" in finding.text


def test_a_voice_with_codes_of_another_checkpoint_is_named(target: Target) -> None:
    path = target.model_dir / "voices" / "joe.safetensors"
    voice = VoiceStore(target.model_dir).load("joe", Voice)
    save_voice(path, replace(voice, prompt_tokens=voice.prompt_tokens + 6561))
    assert "voice joe: has speech codes outside 0 to 6560" in found("model.voices", target).text


def test_a_voice_with_an_impossible_name_is_pointed_out(target: Target) -> None:
    voices = target.model_dir / "voices"
    (voices / "joe.safetensors").rename(voices / "my voice.safetensors")
    finding = found("model.voices", target)
    assert finding.status is Status.WARN
    assert "my voice" in finding.text


def test_without_voices_each_request_brings_its_own(target: Target) -> None:
    shutil.rmtree(target.model_dir / "voices")
    change_config(target, default_voice=None)
    finding = found("model.voices", target)
    assert finding.status is Status.PASS
    assert "each request must bring a reference recording" in finding.text


def test_what_cannot_be_read_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = target.model_dir / "flow.safetensors"
    monkeypatch.setattr(model.os, "access", lambda path, mode: path != closed)
    finding = found("model.permissions", target)
    assert finding.status is Status.FAIL
    assert "flow.safetensors" in finding.text
    assert f"chmod -R a+rX {target.model_dir}" in finding.fix


def test_a_read_only_directory_without_a_graph_needs_a_cache(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.os, "access", lambda path, mode: not mode & model.os.W_OK)
    with_cache = replace(target, cache_dir=tmp_path)
    assert found("model.permissions", with_cache).status is Status.PASS
    target = replace(target, cache_dir=Path("/proc/tritone"))
    finding = found("model.permissions", target)
    assert finding.status is Status.FAIL
    assert "is not writable, and /proc/tritone cannot be written" in finding.text
    assert "--cache-dir" in finding.fix
    assert found("model.permissions", replace(target, profile="gpu")).status is Status.PASS
    (target.model_dir / "llm" / "onnx").mkdir()
    (target.model_dir / "llm" / "onnx" / "int8.onnx").touch()
    assert found("model.permissions", target).status is Status.PASS


def test_a_file_for_its_owner_alone_is_pointed_out(target: Target) -> None:
    (target.model_dir / "vocoder.safetensors").chmod(0o600)
    finding = found("model.permissions", target)
    assert finding.status is Status.WARN
    assert "vocoder.safetensors" in finding.text

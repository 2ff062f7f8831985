"""The doctor's checks of a model directory, each with its fault planted."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from released_checkpoint import released_checkpoint

from tritone.doctor.check import Finding, Status
from tritone.doctor.checks import model_content, model_dir, model_folder, model_probe
from tritone.doctor.examine import examine
from tritone.doctor.isolated import Outcome
from tritone.doctor.target import Target
from tritone.download.record import Record, RecordedFile, write_record
from tritone.download.verify import sha256_of
from tritone.errors import ModelDirectoryError
from tritone.families import cosyvoice2
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.reference import SPEAKER_ENCODER_NAME, SPEECH_TOKENIZER_NAME

EMBEDDED = Path(__file__).resolve().parents[1] / "checkpoints" / "embedded"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"
CHECKS = {check.name: check for check in model_dir.CHECKS}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A copy of the embedded voice, for a fault to be planted in."""
    ignored = shutil.ignore_patterns("onnx")
    return Target(model_dir=shutil.copytree(EMBEDDED, tmp_path / "voice", ignore=ignored))


def found(name: str, target: Target) -> Finding:
    return CHECKS[name].run(target)


def in_this_process(name: str, folder: Path, limit_s: float) -> Outcome:
    try:
        answer = model_probe.PROBES[name](folder)
    except ModelDirectoryError as error:
        return Outcome(model_probe.REFUSED, 0.0, "", str(error))
    return Outcome(0, 0.0, json.dumps(answer), "")


def change_config(target: Target, **changes: object) -> None:
    path = target.model_dir / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_file_names_are_those_that_the_loaders_use() -> None:
    llm = f"{LLM_DIR}/{WEIGHTS_NAME}"
    assert (cosyvoice2.FLOW_FILE, cosyvoice2.VOCODER_FILE, llm) == model_folder.WEIGHTS
    assert model_folder.CLONING == (SPEECH_TOKENIZER_NAME, SPEAKER_ENCODER_NAME)


def test_a_whole_directory_passes(target: Target) -> None:
    """Through the doctor itself; the two checks that start torch have tests of their own."""
    cheap = [c for c in model_dir.CHECKS if c.name not in ("model.weights", "model.cloning")]
    findings = {d.check.name: d.finding for d in examine(cheap, target)}
    assert findings.pop("model.checksums").status is Status.SKIP
    assert {name: f.text for name, f in findings.items() if f.status is not Status.PASS} == {}
    assert "third of november" in findings["model.text"].text


def test_without_a_directory_one_check_fails_and_the_others_skip(tmp_path: Path) -> None:
    target = Target(model_dir=tmp_path / "nowhere")
    findings = [check.run(target) for check in model_dir.CHECKS]
    assert [f.status for f in findings] == [Status.FAIL, *[Status.SKIP] * (len(findings) - 1)]
    assert "does not exist" in findings[0].text
    assert "make model" in findings[0].fix


def test_a_release_is_to_be_converted(tmp_path: Path) -> None:
    target = Target(model_dir=released_checkpoint(tmp_path / "CosyVoice2-tiny"))
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert "not yet a model directory" in finding.text
    assert f"scripts/convert.py {target.model_dir}" in finding.fix
    assert found("model.weights", target).status is Status.SKIP
    checksums = found("model.checksums", target)  # no file of a tiny one is the released one
    assert checksums.status is Status.FAIL
    assert "scripts/download.py" in checksums.fix


@pytest.mark.parametrize(
    "changes, sign",
    [
        ({"sample_rat": 1}, "sample_rat: Extra inputs"),
        ({"flow": None}, "flow: Input should be"),
        ({"family": "cosyvoice9"}, "the family 'cosyvoice9'"),
        ({"family": "../x"}, "the family '../x'"),
    ],
)
def test_a_wrong_config_names_the_key(target: Target, changes, sign: str) -> None:
    change_config(target, **changes)
    finding = found("model.config", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text


@pytest.mark.parametrize("name", ["tokenizer.json", "phonemes.json", *model_folder.WEIGHTS])
def test_a_missing_file_is_named(target: Target, name: str) -> None:
    (target.model_dir / name).unlink()
    finding = found("model.files", target)
    assert finding.status is Status.FAIL
    assert f"lacks {name}" in finding.text
    assert "scripts/convert.py" in finding.fix


def test_without_the_models_for_cloning_it_still_speaks(target: Target) -> None:
    (target.model_dir / "speaker_encoder.onnx").unlink()
    finding = found("model.files", target)
    assert finding.status is Status.WARN
    assert "speaker_encoder.onnx" in finding.text
    assert found("model.cloning", target).status is Status.SKIP


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
    llm = json.loads((target.model_dir / "config.json").read_text())["llm"]
    change_config(target, llm={**llm, "speech_codes": 10})
    assert "voice joe: has speech codes outside 0 to 9" in found("model.voices", target).text


def test_a_voice_with_an_impossible_name_is_pointed_out(target: Target) -> None:
    voices = target.model_dir / "voices"
    (voices / "joe.safetensors").rename(voices / "my voice.safetensors")
    finding = found("model.voices", target)
    assert finding.status is Status.WARN
    assert "my voice" in finding.text


def test_without_voices_there_must_be_cloning(target: Target) -> None:
    shutil.rmtree(target.model_dir / "voices")
    change_config(target, default_voice=None)
    assert found("model.voices", target).status is Status.PASS
    (target.model_dir / "speech_tokenizer.onnx").unlink()
    assert found("model.voices", target).status is Status.FAIL


def test_what_cannot_be_read_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = target.model_dir / "flow.safetensors"
    monkeypatch.setattr(model_dir.os, "access", lambda path, mode: path != closed)
    finding = found("model.permissions", target)
    assert finding.status is Status.FAIL
    assert "flow.safetensors" in finding.text
    assert f"chmod -R a+rX {target.model_dir}" in finding.fix


def test_a_read_only_directory_without_a_graph_cannot_be_served_on_a_cpu(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_dir.os, "access", lambda path, mode: not mode & model_dir.os.W_OK)
    finding = found("model.permissions", target)
    assert finding.status is Status.FAIL
    assert "is not writable" in finding.text
    assert found("model.permissions", replace(target, profile="gpu")).status is Status.PASS
    (target.model_dir / "llm" / "onnx").mkdir()
    (target.model_dir / "llm" / "onnx" / "int8.onnx").touch()
    assert found("model.permissions", target).status is Status.PASS


def test_a_file_for_its_owner_alone_is_pointed_out(target: Target) -> None:
    (target.model_dir / "vocoder.safetensors").chmod(0o600)
    finding = found("model.permissions", target)
    assert finding.status is Status.WARN
    assert "vocoder.safetensors" in finding.text

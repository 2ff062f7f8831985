"""The doctor's checks of a converted model directory, each with its fault planted."""

import json
from pathlib import Path

from indextts2_emotion_model import emotion_model
from safetensors.torch import load_file, save_file

from tritone.diagnostics.doctor.check import Finding, Status
from tritone.diagnostics.doctor.target import Target
from tritone.families.doctor import memory
from tritone.families.indextts2 import doctor, model_checks
from tritone.families.indextts2.convert_emotion_model import EmotionModelConversion

CHECKS = {check.name: check for check in doctor.CHECKS}


def found(name: str, model: Path) -> Finding:
    return CHECKS[f"model.indextts2_{name}"](Target(model_dir=model))


def test_a_whole_directory_passes(model: Path) -> None:
    files = found("files", model)
    assert files.status is Status.PASS and "all 11 files" in files.text
    shapes = found("shapes", model)
    assert shapes.status is Status.PASS and "gpt 0.07" in shapes.text


def test_what_is_missing_is_named(model: Path) -> None:
    (model / "semantic_codec.safetensors").unlink()
    finding = found("files", model)
    assert finding.status is Status.FAIL and "none can be cloned" in finding.text
    (model / "voices" / "anyone.safetensors").touch()
    finding = found("files", model)
    assert finding.status is Status.WARN and "lacks semantic_codec.safetensors:" in finding.text
    (model / "gpt.safetensors").unlink()
    finding = found("files", model)
    assert finding.status is Status.FAIL and "lacks gpt.safetensors" in finding.text
    assert found("shapes", model).status is Status.SKIP


def test_the_emotion_model_is_asked_for_where_the_directory_was_made_with_it(
    model: Path, tmp_path: Path
) -> None:
    emotion_model(tmp_path)
    (tmp_path / "config.yaml").write_text("{}\n")
    (step,) = EmotionModelConversion(tmp_path, model).steps()
    content = json.loads((model / "config.json").read_text())
    content["indextts2"]["emotion_model"] = step.run()
    (model / "config.json").write_text(json.dumps(content))
    whole = found("files", model)
    assert whole.status is Status.PASS and "all 15 files" in whole.text
    (model / "emotion_model" / "onnx" / "int8.onnx.data").unlink()
    finding = found("files", model)
    assert finding.status is Status.FAIL
    assert "lacks emotion_model/onnx/int8.onnx.data" in finding.text
    finding = memory(Target(model_dir=model))
    assert finding.status is Status.SKIP
    assert "int8.onnx.data does not exist; run tritone convert again" in finding.text


def test_weights_of_other_numbers_are_named(model: Path) -> None:
    path = model / "vocoder.safetensors"
    state = load_file(path)
    del state["output.weight"]
    save_file(state, path)
    finding = found("shapes", model)
    assert finding.status is Status.FAIL
    assert "vocoder.safetensors lacks output.weight" in finding.text


def test_every_network_has_its_file(converted: Path) -> None:
    counts = model_checks.parameters(str(converted))
    stems = {path.stem for path in converted.glob("*.safetensors")}
    assert counts.keys() == stems - {"emotions"}


def test_a_directory_of_another_family_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"format": 2, "family": "toy"}')
    for name in ("files", "shapes"):
        finding = found(name, tmp_path)
        assert finding.status is Status.SKIP and "is of the family toy" in finding.text

"""`tritone load` on the embedded voice and on damaged copies of it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from paths import EMBEDDED

from tritone import cli
from tritone.loading.steps import step
from tritone.local import trial, tts

pytestmark = pytest.mark.slow


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "voice"))


def rows(table: str) -> list[str]:
    return [line.split("  ")[0] for line in table.splitlines()]


def test_it_loads_and_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", str(EMBEDDED)]) == 0
    out, err = capsys.readouterr()
    names = rows(out)
    assert names[:3] == ["step", "imports", "config"] and names[-2:] == ["speak", "total"]
    assert re.search(r"flow weights +flow\.safetensors +8\.8 +\d+\.\d\d +\d{3,5}$", out, re.M)
    # not on a terminal: a line before and after each step
    assert len(err.splitlines()) == 2 * (len(names) - 2)
    assert re.search(r"^load load_model, speak: done in \d", err, re.M)


def test_half_precision_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", str(EMBEDDED), "--half", "--json", "--text", "Yes."]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["model_dir"] == str(EMBEDDED) and summary["failed"] is None
    steps = {entry["step"]: entry for entry in summary["steps"]}
    weights = steps["flow weights"]
    assert weights["bytes"] == (EMBEDDED / "flow.safetensors").stat().st_size
    assert weights["resident_bytes"] > 2**26 and weights["gpu_bytes"] is None
    assert "speak" in steps


def test_half_precision_reaches_flow_and_vocoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class Stop(Exception):
        pass

    def opened(*_: object, **options: object) -> None:
        seen.update(options)
        raise Stop

    monkeypatch.setattr(tts, "LocalStages", opened)
    with pytest.raises(Stop):
        cli.main(["load", str(EMBEDDED), "--half", "fp16"])
    assert seen["flow"].dtype == seen["vocoder"].dtype == torch.float16


def test_until_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", str(EMBEDDED), "--until", "text tokenizer"]) == 0
    assert rows(capsys.readouterr().out) == ["step", "imports", "config", "text tokenizer", "total"]


def test_until_a_step_that_the_checkpoint_lacks(
    voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voice / "speaker_encoder.onnx").unlink()
    assert cli.main(["load", str(voice), "--until", "speaker encoder"]) == 2
    assert "this checkpoint has no step speaker encoder" in capsys.readouterr().err


def test_a_damaged_file_is_named_with_its_step(
    voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (voice / "vocoder.safetensors").unlink()
    assert cli.main(["load", str(voice), "--json"]) == 1
    out, err = capsys.readouterr()
    problem = err.splitlines()[-1]
    assert problem == (
        "the step vocoder weights failed: ModelDirectoryError: "
        f"{voice}/vocoder.safetensors does not exist; run tritone convert again; "
        f"examine: tritone doctor --only model.weights --model {voice} --profile cpu"
    )
    summary = json.loads(out)
    assert summary["failed"] == "vocoder weights" and summary["problem"] == problem
    assert summary["steps"][-1]["step"] == "vocoder weights"


def test_silence_is_no_speech(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SILENCE", 10.0)
    assert cli.main(["load", str(EMBEDDED)]) == 1
    assert re.search(
        r"the step speak failed: StageFailed: speak: \d+ samples came out with an RMS of 0\.\d",
        capsys.readouterr().err,
    )


def test_a_checkpoint_without_voices_speaks_as_a_buzz(
    voice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(voice / "voices")
    config = json.loads((voice / "config.json").read_text())
    (voice / "config.json").write_text(json.dumps({**config, "default_voice": None}))
    assert cli.main(["load", str(voice)]) == 0
    assert "speak" in rows(capsys.readouterr().out)


def test_no_gpu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert cli.main(["load", str(EMBEDDED), "--profile", "gpu-torch"]) == 1
    out, err = capsys.readouterr()
    assert "loading ended after the step imports: EnvironmentProblem: device cuda was ask" in err
    assert rows(out) == ["step", "imports", "total"]


def test_an_interrupted_step_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        with step("config"):
            raise KeyboardInterrupt

    monkeypatch.setattr(trial, "load_and_speak", interrupted)
    assert cli.main(["load", str(EMBEDDED)]) == 130
    assert capsys.readouterr().err.endswith("interrupted in the step config\n")


def test_the_list_is_of_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", "--profile", "gpu", "--list"]) == 0
    listed = capsys.readouterr().out
    doctor = "tritone doctor --only mpi --profile gpu"
    assert re.search(rf"^TensorRT-LLM import +\d+ s +{doctor}$", listed, re.MULTILINE)
    assert "LLM session" not in listed and "20 MB/s" in listed


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "MODEL_DIR is missing"),
        (["/nowhere"], "/nowhere is no folder; make one with tritone convert"),
        (["m", "--until", "tea"], "--until: 'tea' is no step; they are: imports, config,"),
        (["m", "--until", "LLM graphs"], "'LLM graphs' is no step"),
        (["m", "--patience", "0"], "--patience: 0; it must be above 0"),
        (["m", "--deadline", "-1"], "--deadline: -1; it must be above 0"),
    ],
)
def test_a_wrong_command_line(
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITONE_MODEL", raising=False)
    assert cli.main(["load", *arguments]) == 2
    assert problem in capsys.readouterr().err

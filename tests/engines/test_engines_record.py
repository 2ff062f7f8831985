"""Which plans are refused: those of another machine, precision or weights, by name."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_gpu import H200
from paths import EMBEDDED

from tritone.engines.machine import Machine, driver_version, import_tensorrt
from tritone.engines.record import (
    EngineRecord,
    PartRecord,
    Verdict,
    check_part,
    engine_folder,
    open_record,
    read_record,
)
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.families.cosyvoice2.config import CosyVoice2Config

PASSED = Verdict(0.01, 0.05, 1.0, None)
PART = PartRecord(source="a" * 64, settings="s", nbytes=1, seconds=1.0, gate=PASSED)


def built(model_dir: Path, machine: Machine = H200, dtype: str = "bfloat16") -> Path:
    folder = engine_folder(model_dir, machine, dtype)
    folder.mkdir(parents=True)
    EngineRecord(machine=machine, dtype=dtype, parts={"vocoder": PART}).write(folder)
    return folder


def check(model_dir: Path, machine: Machine = H200, **changes: str) -> Path:
    values = {"name": "vocoder", "dtype": "bfloat16", "source": "a" * 64, **changes}
    return check_part(model_dir, values["name"], machine, values["dtype"], values["source"])


def test_what_was_built_here_is_found(tmp_path: Path) -> None:
    folder = built(tmp_path)
    assert check(tmp_path) == folder
    assert read_record(folder) == EngineRecord(
        machine=H200, dtype="bfloat16", parts={"vocoder": PART}
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpu", "NVIDIA L40S"),
        ("compute_capability", "8.9"),
        ("driver", "550.54.15"),
        ("tensorrt", "10.9.0.34"),
    ],
)
def test_engines_of_another_machine_are_refused_by_name(
    tmp_path: Path, field: str, value: str
) -> None:
    built(tmp_path, replace(H200, **{field: value}))
    with pytest.raises(ModelDirectoryError) as refused:
        check(tmp_path)
    message = str(refused.value)
    assert f"{field} is {value}, here it is {getattr(H200, field)}" in message
    assert f"tritone engines {tmp_path} --dtype bfloat16" in message


def test_a_copied_directory_is_refused_by_its_record(tmp_path: Path) -> None:
    folder = built(tmp_path, replace(H200, driver="550.54.15"))
    folder.rename(engine_folder(tmp_path, H200, "bfloat16"))
    with pytest.raises(ModelDirectoryError, match=r"driver is 550\.54\.15, here it is 570\.124"):
        check(tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dtype": "float16"}, "dtype is bfloat16, here it is float16"),
        ({"name": "estimator"}, "it has no estimator"),
        ({"source": "b" * 64}, "vocoder was made from aaaaaaaaaaaa, the weights and numbers here"),
    ],
    ids=["precision", "part", "weights"],
)
def test_what_differs_is_named(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    built(tmp_path)
    with pytest.raises(ModelDirectoryError, match=problem):
        check(tmp_path, **changes)


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        (None, "vocoder was never judged"),
        (Verdict(0.4, 0.05, 1.0, "bins is off by 0.4"), "vocoder was refused: bins is off by 0.4"),
    ],
    ids=["unjudged", "refused"],
)
def test_a_part_without_a_passed_gate_is_refused(
    tmp_path: Path, gate: Verdict | None, problem: str
) -> None:
    folder = built(tmp_path)
    part = PART.model_copy(update={"gate": gate})
    read_record(folder).with_part("vocoder", part).write(folder)
    with pytest.raises(ModelDirectoryError, match=problem):
        check(tmp_path)


def test_nothing_built_yet(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError) as refused:
        check(tmp_path)
    assert "has no engines for this machine (nvidia-h200-sm90-driver570.124.06-trt10.10.0" in str(
        refused.value
    )


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    folder = built(tmp_path)
    (folder / "engine.json").write_text('{"format": 2}')
    with pytest.raises(ModelDirectoryError, match=r"engine\.json cannot be read"):
        check(tmp_path)


def test_a_record_of_another_machine_is_not_added_to(tmp_path: Path) -> None:
    folder = built(tmp_path)
    assert set(open_record(folder, H200, "bfloat16").parts) == {"vocoder"}
    assert not open_record(folder, replace(H200, driver="1"), "bfloat16").parts


def test_a_familys_own_ids_stand_where_digests_have_always_had_them() -> None:
    llm = CosyVoice2Config.read(EMBEDDED).llm
    numbers = llm.model_copy(update={"text_heads": ()}).model_dump()
    assert list(numbers)[3:7] == ["stop_ids", "sos_id", "task_id", "hidden_size"]
    assert list(llm.model_dump())[3:5] == ["stop_ids", "text_heads"], "only where there are any"


def test_a_missing_tensorrt_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(EnvironmentProblem) as refused:
        import_tensorrt()
    assert "package tensorrt cannot be imported" in str(refused.value)
    assert "pip install tensorrt-cu12==10.10.0.31" in str(refused.value)


def test_a_driver_that_does_not_tell_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvironmentProblem, match="plans are kept by driver version"):
        driver_version()

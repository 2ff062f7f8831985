"""What a model directory takes of memory."""

import errno
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import tritone
from tritone import cli
from tritone.checkpoints.conversion import ConvertOptions
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.families import doctor, memory_check, open_model
from tritone.families.indextts2 import FAMILY, memory, model_checks, networks
from tritone.families.indextts2.convert import Conversion
from tritone.families.indextts2.emotion_model_files import FOLDER, GRAPH
from tritone.families.indextts2.gpt_runtime import ensure_gpt_graph
from tritone.families.memory_check import check_memory
from tritone.launcher import TritonServer
from tritone.loading.needs import Need, told
from tritone.loading.steps import Report
from tritone.variables import CACHE_VARIABLE

GIB = 2**30
BERT = "w2v_bert.safetensors"


def needed(model: Path, profile: str = "cpu", **language_model: str) -> Sequence[Need]:
    return FAMILY.memory(model, profile, language_model)


def of_language_model(model: Path, precision: str) -> int:
    sizes = {need.part: need.nbytes for need in needed(model, precision=precision)}
    return sizes[memory.LLM]


def test_every_value_counts_once_as_float32_but_for_the_language_model_s_graph(
    model: Path,
) -> None:
    sizes = {need.part: need.nbytes for need in needed(model)}
    assert sizes.keys() == {*memory.PARTS, "processes and a stream"}
    names = [name for files in memory.PARTS.values() for name in files]
    built = networks.networks(open_model(model).config)
    assert sorted(names) == sorted(built)
    (llm,) = memory.PARTS[memory.LLM]
    graphs = {path.name: path.stat().st_size for path in model.glob("llm/onnx/*.data")}
    assert sizes.pop(memory.LLM) == graphs["int8.onnx.data"] and len(graphs) == 1
    others = (load_file(model / name) for name in names if name != llm)
    values = sum(value.numel() for weights in others for value in weights.values())
    assert sum(sizes.values()) == 4 * values + memory.WORKING
    shutil.rmtree(model / "llm")
    whole = {need.part: need.nbytes for need in needed(model)}[memory.LLM]
    assert whole == 4 * sum(value.numel() for value in load_file(model / llm).values())


def test_the_language_model_s_graph_is_that_which_is_served(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its precision, beside the weights or in the cache; where there is none, the weights."""
    beside = model / "llm" / "onnx"
    weights = 4 * memory.values(model)[memory.LLM]
    int8 = (beside / "int8.onnx.data").stat().st_size
    assert of_language_model(model, "fp32") == weights
    (beside / "fp32.onnx.data").write_bytes(bytes(weights + 7))
    assert of_language_model(model, "fp32") == weights + 7
    assert of_language_model(model, "int8") == int8 < weights
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    shutil.rmtree(beside)
    assert of_language_model(model, "int8") == weights
    monkeypatch.setattr(Path, "mkdir", forbidden(beside, Path.mkdir))
    graph = ensure_gpt_graph(model, open_model(model).language_model, "int8")
    assert graph.is_relative_to(tmp_path / "cache")
    assert of_language_model(model, "int8") == int8


def forbidden(folder: Path, mkdir: Callable[..., None]) -> Callable[..., None]:
    """`mkdir` where nobody may make this folder."""

    def make(path: Path, *options: Any, **more: Any) -> None:
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        mkdir(path, *options, **more)

    return make


def test_what_a_gpu_holds_goes_through_main_memory_part_by_part(model: Path) -> None:
    onnx, gpu = (
        {need.part: need.nbytes for need in needed(model, profile)}
        for profile in ("cpu", "gpu-torch")
    )
    largest = max(memory.values(model)[part] for part in memory.ON_GPU)
    assert gpu.pop("weights on their way to the GPU") == 4 * largest
    assert gpu == {part: size for part, size in onnx.items() if part not in memory.ON_GPU}


def test_the_configuration_of_the_profile_says_which_graph_is_served(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    more = [Need("more than there is", 1 << 60)]
    monkeypatch.setattr(type(FAMILY), "memory", lambda self, *given: asked.append(given) or more)
    changed = ["--set", "tensorrt_llm.precision=fp32"]
    for arguments in ([], changed, ["--profile", "gpu-torch"]):
        assert cli.main(["serve", "--model", str(model), *arguments]) == 2
    assert [(profile, values.get("precision")) for _, profile, values in asked] == [
        ("cpu", "int8"),
        ("cpu", "fp32"),
        ("gpu-torch", None),
    ]


def test_stored_halves_take_as_much(release: Path, model: Path, tmp_path: Path) -> None:
    Conversion(release, tmp_path / "half", ConvertOptions(dtype="fp16")).run()
    halved = [
        replace(n, without=n.without.replace(str(model), str(tmp_path / "half")))
        for n in needed(model)
    ]
    assert list(needed(tmp_path / "half")) == halved


def test_a_language_model_elsewhere_takes_nothing_here(model: Path) -> None:
    elsewhere = {"url": "llm:8001"}
    assert list(needed(model, **elsewhere)) == [n for n in needed(model) if n.part != memory.LLM]
    flow = next(need.nbytes for need in needed(model) if need.part == memory.FLOW)
    assert needed(model, "gpu-torch", **elsewhere)[0].nbytes == flow, "it is the largest then"
    least = sum(need.nbytes for need in needed(model, **elsewhere))
    check_memory(open_model(model), "cpu", elsewhere, lambda: least)
    with pytest.raises(EnvironmentProblem, match="main memory: needs"):
        check_memory(open_model(model), "cpu", elsewhere, lambda: GIB)


def test_what_reads_recordings_can_be_left_out(model: Path) -> None:
    whole = sum(need.nbytes for need in needed(model))
    with pytest.raises(EnvironmentProblem) as refused:
        check_memory(open_model(model), "cpu", {}, lambda: whole - 1)
    said = str(refused.value)
    assert said.startswith(f"main memory: needs {whole / GIB:.1f} GiB (processes and a stream ")
    assert f"move {BERT} out of {model}, and registered voices alone can speak" in said
    (model / BERT).rename(model / "elsewhere")
    check_memory(open_model(model), "cpu", {}, lambda: whole - 1)
    with pytest.raises(EnvironmentProblem, match="are free: end other processes, or give"):
        check_memory(open_model(model), "cpu", {}, lambda: GIB)


def test_the_emotion_model_can_be_left_out(model: Path, tmp_path: Path) -> None:
    least = sum(need.nbytes for need in needed(model))
    content = json.loads((model / "config.json").read_text())
    sizes = {"vocab_size": 9, "hidden_size": 9, "intermediate_size": 9, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    numbers = {"rope_theta": 1, "rms_norm_eps": 1, "max_position_embeddings": 5}
    content["indextts2"]["emotion_model"] = {
        "decoder": {**sizes, **heads, **numbers},
        "opening": "",
        "closing": "",
        "end_ids": [1],
    }
    (model / "config.json").write_text(json.dumps(content))
    graph, data = (model / name for name in GRAPH)
    graph.parent.mkdir(parents=True)
    graph.write_bytes(bytes(10))
    data.write_bytes(bytes(1000))
    cache = np.zeros((3, 2, 2, 5, 16), np.float32)  # layers, keys and values, heads, positions
    assert sum(need.nbytes for need in needed(model)) == least + 1010 + cache.nbytes
    with pytest.raises(EnvironmentProblem, match=f"move {FOLDER} out of {model}, and emotion_text"):
        check_memory(open_model(model), "cpu", {}, lambda: least)
    (model / FOLDER).rename(tmp_path / "elsewhere")
    check_memory(open_model(model), "cpu", {}, lambda: least)


def test_nothing_is_started_that_does_not_fit(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory_check, "available_memory", lambda: (GIB, "1 GiB free"))
    reports: list[Report] = []
    with pytest.raises(EnvironmentProblem, match=r"needs .* GiB .*, 1\.0 GiB are free"):
        tritone.load(model, report=reports.append)
    assert {report.step for report in reports} <= {"imports", "config"}
    monkeypatch.setattr(TritonServer, "start", lambda self: pytest.fail("a server is started"))
    assert cli.main(["serve", "--model", str(model)]) == 2
    assert "error: main memory: needs" in capsys.readouterr().err


def test_the_doctor_says_what_loading_says(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not more, as by the size of the files, of which some are halves."""
    least = sum(need.nbytes for need in needed(model))
    for free, status in ((least, Status.PASS), (least - 1, Status.FAIL)):
        monkeypatch.setattr(doctor, "available_memory", lambda free=free: (free, "so much free"))
        found = doctor.memory(Target(model_dir=model, http_port=1))
        assert found.status is status
        assert found.text == f"a server takes {told(needed(model))}; so much free"
    with pytest.raises(EnvironmentProblem) as refused:
        check_memory(open_model(model), "cpu", {}, lambda: least - 1)
    assert found.fix == str(refused.value)
    gpu = model_checks.gpu_memory(Target(model_dir=model))
    counts = memory.values(model)
    half = 2 * (counts["language model"] + counts["flow"]) + 4 * counts["vocoder"]
    assert dict(memory.on_gpu(model))["bfloat16"] == half
    assert gpu.status is Status.PASS and "profile gpu-torch" in gpu.text
    (model / "gpt.safetensors").unlink()
    lacking = doctor.memory(Target(model_dir=model, http_port=1))
    assert lacking.status is Status.SKIP and "gpt.safetensors does not exist" in lacking.text

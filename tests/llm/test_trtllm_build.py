"""The engine build around trtllm-build, which a script of the same options stands in for."""

import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from paths import SUPPORT
from trtllm_reader import convert, write_source
from waiting import is_running, wait_until

from tritone.errors import EnvironmentProblem, InvalidRequest, ModelDirectoryError
from tritone.llm.trtllm import build as building
from tritone.llm.trtllm.build import build_command, run_build
from tritone.llm.trtllm.checkpoint_config import CheckpointOptions
from tritone.llm.trtllm.engine_settings import EngineSettings, check_engine_config, settings_for
from tritone.llm.trtllm.environment import clean_environment

FAKE = SUPPORT / "fake_trtllm_build.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "qwen2", max_position_embeddings=32768)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which trtllm-build is found."""
    program = tmp_path_factory.mktemp("bin") / "trtllm-build"
    program.write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}


class Build:
    """One build of `source`; `run` does it and returns the engine directory."""

    def __init__(self, source: Path, folder: Path, environment: dict[str, str], **options: Any):
        self.checkpoint = convert(source, folder / "checkpoint", **options)
        self.settings = settings_for(self.checkpoint)
        self.engine = folder / "engines" / "gpu" / "llm"
        self.log = folder / "logs" / "build.log"
        self.command = build_command(self.settings, self.checkpoint, self.engine)
        self.environment = environment

    def run(self, timeout_s: float = 60, **variables: str) -> Path:
        run_build(self.command, self.log, timeout_s, {**self.environment, **variables})
        return self.engine

    def failure(self, role: str, timeout_s: float = 60) -> str:
        with pytest.raises(EnvironmentProblem) as failed:
            self.run(timeout_s, FAKE_TRTLLM_BUILD=role)
        return str(failed.value)


@pytest.fixture
def build(source: Path, tmp_path: Path, environment: dict[str, str]) -> Build:
    return Build(source, tmp_path, environment)


@pytest.fixture(scope="module")
def whole(
    source: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Build:
    build = Build(source, tmp_path_factory.mktemp("whole"), environment)
    build.run()
    return build


@pytest.fixture
def engine(whole: Build, tmp_path: Path) -> Path:
    """An engine to damage."""
    return shutil.copytree(whole.engine, tmp_path / "llm")


def change_config(engine: Path, key: str, value: Any) -> None:
    path = engine / "config.json"
    config = part = json.loads(path.read_text())
    *parents, last = key.split(".")
    for name in parents:
        part = part[name]
    if value is None:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "options",
    [{}, {"dtype": "float16", "weight_only": True}, {"tp_size": 2}],
    ids=str,
)
def test_what_is_built_is_what_was_asked_for(
    source: Path, tmp_path: Path, environment: dict[str, str], options: dict[str, Any]
) -> None:
    build = Build(source, tmp_path, environment, **options)
    engine = build.run()
    check_engine_config(engine, build.settings)
    assert (engine.parent / "trtllm-build.cache").read_bytes() == b"timings"


def test_the_command_says_every_option(build: Build) -> None:
    flags = dict(zip(build.command[1::2], build.command[2::2], strict=True))
    assert build.command[0] == "trtllm-build" and len(flags) == (len(build.command) - 1) // 2
    assert flags == {
        "--checkpoint_dir": str(build.checkpoint),
        "--output_dir": str(build.engine),
        "--max_batch_size": "64",
        "--max_input_len": "2048",
        "--max_seq_len": "5248",
        "--max_num_tokens": "8192",
        "--opt_num_tokens": "64",
        "--max_beam_width": "1",
        "--max_prompt_embedding_table_size": "0",
        "--max_draft_len": "0",
        "--tokens_per_block": "32",
        "--kv_cache_type": "paged",
        "--logits_dtype": "float32",
        "--profiling_verbosity": "layer_names_only",
        "--gpt_attention_plugin": "bfloat16",
        "--gemm_plugin": "bfloat16",
        "--nccl_plugin": "disable",
        "--lora_plugin": "disable",
        "--context_fmha": "enable",
        "--remove_input_padding": "enable",
        "--use_paged_context_fmha": "enable",
        "--use_fp8_context_fmha": "disable",
        "--use_fused_mlp": "enable",
        "--multiple_profiles": "disable",
        "--reduce_fusion": "disable",
        "--user_buffer": "disable",
        "--norm_quant_fusion": "disable",
        "--workers": "1",
        "--input_timing_cache": str(build.engine.parent / "trtllm-build.cache"),
        "--output_timing_cache": str(build.engine.parent / "trtllm-build.cache"),
        "--log_level": "info",
    }


def test_int8_weights_and_two_gpus_change_the_command(tmp_path: Path) -> None:
    settings = EngineSettings(CheckpointOptions("float16", 2, weight_only=True))
    command = build_command(settings, tmp_path, tmp_path / "llm")
    flags = dict(zip(command[1::2], command[2::2], strict=True))
    assert flags["--use_fused_mlp"] == "disable"
    assert flags["--nccl_plugin"] == flags["--gemm_plugin"] == "float16"
    assert flags["--workers"] == "2"


def test_job_variables_do_not_reach_the_build(build: Build) -> None:
    build.run(SLURM_JOB_ID="7", OMPI_COMM_WORLD_RANK="0", PMIX_RANK="0", OMPI_MCA_btl="self")
    assert "job variables: OMPI_MCA_btl\n" in build.log.read_text()


def test_clean_environment_keeps_what_the_user_set() -> None:
    kept = {"PATH": "/bin", "OMPI_MCA_btl": "self", "PMIX_MCA_gds": "hash", "CUDA_HOME": "/cuda"}
    inherited = ("OMPI_MCA_orte_precondition", "ORTE_JOB", "PMI_RANK", "PMIX_SERVER_URI2")
    inherited += ("SLURM_PROCID", "OMPI_UNIVERSE_SIZE")
    assert clean_environment({**kept, **dict.fromkeys(inherited, "1")}) == kept


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("build_config.max_batch_size", 2048, "max_batch_size is 2048, expected 64"),
        (
            "build_config.plugin_config.use_paged_context_fmha",
            False,
            "use_paged_context_fmha is False, expected True",
        ),
        ("build_config.plugin_config.tokens_per_block", 64, "tokens_per_block is 64, expected 32"),
        ("build_config.plugin_config.gemm_plugin", "auto", "gemm_plugin is 'auto', expected 'bf"),
        ("build_config.plugin_config.manage_weights", True, "manage_weights is True"),
        ("build_config.kv_cache_type", "CONTINUOUS", "kv_cache_type is 'CONTINUOUS'"),
        ("build_config.plugin_config", None, "plugin_config.dtype is 'absent'"),
        ("pretrained_config.dtype", "float16", "pretrained_config.dtype is 'float16'"),
        ("pretrained_config.quantization.quant_algo", "W8A16", "quant_algo is 'W8A16', exp"),
        ("version", "0.19.0", "version is 0.19.0; engines are built and run with TensorRT-LLM 0.2"),
        ("version", "1.0.0", "version is 1.0.0"),
        ("version", None, "version is absent"),
    ],
)
def test_another_engine_is_refused_by_name(
    whole: Build, engine: Path, key: str, value: Any, message: str
) -> None:
    change_config(engine, key, value)
    with pytest.raises(ModelDirectoryError) as refused:
        check_engine_config(engine, whole.settings)
    assert message in str(refused.value)
    assert str(refused.value).endswith("build the engines again: tritone engines")


def test_every_difference_is_named_at_once(whole: Build, engine: Path) -> None:
    other = replace(whole.settings, max_batch_size=16, max_input_len=1024)
    with pytest.raises(ModelDirectoryError) as refused:
        check_engine_config(engine, other)
    for name in ("max_batch_size is 64, expected 16", "opt_num_tokens", "max_input_len is 2048"):
        assert name in str(refused.value)


def test_a_half_engine_is_refused(whole: Build, engine: Path) -> None:
    (engine / "rank0.engine").write_bytes(b"")
    with pytest.raises(ModelDirectoryError, match=r"rank0\.engine is missing or empty"):
        check_engine_config(engine, whole.settings)
    (engine / "config.json").write_text("{")
    with pytest.raises(ModelDirectoryError, match=r"config\.json: is not valid JSON"):
        check_engine_config(engine, whole.settings)
    (engine / "config.json").unlink()
    with pytest.raises(ModelDirectoryError, match=r"config\.json does not exist; build the engi"):
        check_engine_config(engine, whole.settings)


def test_a_crash_ends_with_the_last_lines_of_the_log(build: Build) -> None:
    said = build.failure("crash")
    assert said.startswith("trtllm-build failed, status 1; last lines of ")
    assert str(build.log) in said and "CUDA out of memory" in said
    assert "line 39" in said and "line 3\n" not in said


def test_a_killed_build_names_the_signal(build: Build) -> None:
    assert build.failure("killed").startswith("trtllm-build was killed by signal 9")


def test_a_hang_is_ended_with_all_its_processes(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is over once it has a child."""

    def clock() -> float:
        hangs = build.log.is_file() and build.log.read_text().startswith("child")
        return 10.0 if hangs else 0.0

    monkeypatch.setattr(building, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    said = build.failure("hang", timeout_s=5)
    assert "took longer than 5 s and was stopped (it has not even been imported" in said
    child = int(build.log.read_text().split()[1])
    wait_until(lambda: not is_running(child))


def test_another_version_is_stopped_as_soon_as_it_says_so(build: Build) -> None:
    said = build.failure("1.2.1")
    assert "is of TensorRT-LLM 1.2.1; engines are built and run with TensorRT-LLM 0.20" in said


def test_a_missing_program_is_named(build: Build) -> None:
    message = "trtllm-build is not on PATH: run this in the GPU container"
    with pytest.raises(EnvironmentProblem, match=message):
        build.run(PATH="/nonexistent")


def test_a_model_of_few_positions_gets_a_smaller_engine(tmp_path: Path) -> None:
    source = write_source(tmp_path / "qwen2", max_position_embeddings=2048)
    settings = settings_for(convert(source, tmp_path / "out"))
    assert (settings.max_seq_len, settings.max_input_len) == (2048, 1024)
    assert settings.max_num_tokens == 8192


def test_what_is_no_checkpoint_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"does not exist; write the checkpoint w"):
        settings_for(tmp_path)
    with pytest.raises(ModelDirectoryError, match=r"is not of a TensorRT-LLM checkpoint \(KeyErr"):
        settings_for(source)
    output = convert(source, tmp_path / "out", tp_size=2)
    (output / "rank1.safetensors").unlink()
    with pytest.raises(ModelDirectoryError, match=r"rank1\.safetensors does not exist; convert"):
        settings_for(output)
    full = convert(source, tmp_path / "full", dtype="float32")
    with pytest.raises(InvalidRequest, match=r"is float32; the fused attention .*takes bfloat16"):
        settings_for(full)

"""Which TensorRT-LLM engine is taken, and that one that does not fit is refused."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_gpu import H200, plug_in
from llm_model import Built
from trtllm_fixtures import Install, install, model_directory, write_engine

from tritone.engines.record import EngineRecord, check_language_model
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.llm.trtllm.engine_folder import find_engine, read_engine
from tritone.llm.trtllm.executor import open_executor


@pytest.fixture
def built(tmp_path: Path) -> Built:
    model_dir, config = model_directory(tmp_path / "model")
    write_engine(model_dir, config.llm.vocab_size)
    return model_dir, config


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield from install(tmp_path, monkeypatch)


def test_no_engine_says_how_to_build_one(built: Built, tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"no TensorRT-LLM engine .*tritone engines"):
        find_engine(tmp_path / "none")


def test_several_engines_are_named(built: Built) -> None:
    other = write_engine(built[0], 1, name="sm80")
    with pytest.raises(ModelDirectoryError, match=r"several .*sm80/llm, .*sm90/llm: name one"):
        find_engine(built[0])
    assert find_engine(built[0], str(other)) == other


def test_a_chosen_engine_must_be_there(built: Built) -> None:
    with pytest.raises(ModelDirectoryError, match=r"engine_dir /nowhere has no config\.json"):
        find_engine(built[0], "/nowhere")


def test_a_damaged_configuration_is_named(built: Built) -> None:
    (find_engine(built[0]) / "config.json").write_text('{"version": "0.20.0"}')
    with pytest.raises(ModelDirectoryError, match="KeyError: 'pretrained_config'"):
        read_engine(find_engine(built[0]))


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"version": "0.19.0"}, EnvironmentProblem, "built by TensorRT-LLM 0.19.0 and 0.20.0"),
        ({"vocab_size": 5}, ModelDirectoryError, "has 5 ids, the checkpoint 6912"),
        ({"world_size": 2}, ModelDirectoryError, "built for 2 GPUs"),
        ({"max_batch_size": 2}, EnvironmentProblem, "slots is 4, but .* max_batch_size 2"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused_before_the_import(
    built: Built,
    installed: Install,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    installed("0.20.0")
    monkeypatch.setenv("FAKE_TRTLLM", "fail")
    numbers = {"vocab_size": built[1].llm.vocab_size, **changes}
    engine = write_engine(built[0], name="other", **numbers)
    with pytest.raises(error, match=words):
        open_executor(*built, engine_dir=str(engine), slots=4)


def test_an_engine_of_another_machine_is_refused(
    built: Built, installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("0.20.0")
    plug_in(monkeypatch)
    other = dataclasses.replace(H200, gpu="NVIDIA A100-SXM4-80GB", compute_capability="8.0")
    EngineRecord(machine=other, dtype="bfloat16").write(find_engine(built[0]).parent)
    message = "no engines for this machine .*gpu is NVIDIA A100-SXM4-80GB, here it is NVIDIA H200"
    with pytest.raises(ModelDirectoryError, match=message):
        open_executor(*built, check_language_model, slots=4)

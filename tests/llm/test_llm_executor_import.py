"""How TensorRT-LLM is imported for its Executor, with a stand-in for it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from llm_model import Built
from out_of_time import by_marks
from trtllm_fixtures import Install, install, model_directory, write_engine
from waiting import HANG_S

from tritone.errors import EnvironmentProblem
from tritone.llm.trtllm import environment as trtllm_import
from tritone.llm.trtllm.executor import open_executor


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A model directory with an engine."""
    folder, config = model_directory(tmp_path_factory.mktemp("model"))
    write_engine(folder, config.llm.vocab_size)
    return folder, config


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    yield from install(tmp_path, monkeypatch)


def test_missing_names_the_profile_that_does_without(built: Built) -> None:
    with pytest.raises(EnvironmentProblem, match=r"tensorrt_llm is not installed.*gpu-torch"):
        open_executor(*built, slots=4)


def test_a_hang_is_ended_and_named(
    built: Built,
    installed: Install,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    installed("0.20.0")
    monkeypatch.setenv("FAKE_TRTLLM", "hang")
    by_marks(monkeypatch, tmp_path / "marks", trtllm_import)
    with pytest.raises(EnvironmentProblem, match=r"within 3 s: MPI hangs.*mpirun -n 1"):
        open_executor(*built, slots=4, import_seconds=3.0)
    (mark,) = (tmp_path / "marks").iterdir()
    assert not psutil.pid_exists(int(mark.name))


def test_a_failure_is_told_with_its_cause(
    built: Built, installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("0.20.0")
    monkeypatch.setenv("FAKE_TRTLLM", "fail")
    with pytest.raises(EnvironmentProblem, match=r"ImportError: libmpi\.so\.40: cannot open"):
        open_executor(*built, slots=4)


def test_variables_of_a_job_are_cleared_first(
    built: Built, installed: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("0.20.0")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("PMIX_RANK", "0")
    # the stand-in hangs where they are set
    open_executor(*built, slots=4, import_seconds=HANG_S).close()

"""Where the graph of a model directory is looked for and written."""

import errno
from pathlib import Path
from typing import Any

import pytest
from llm_model import TinyConfig, merge_tiny

from tritone.errors import ModelDirectoryError
from tritone.llm.config import SamplingConfig
from tritone.llm.onnx.graph import build
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots import opening
from tritone.llm.slots.opening import ensure_graph


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, ""), OSError(errno.EROFS, "")])
def test_the_graph_of_a_read_only_directory_lies_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    model_dir, cache = tmp_path / "model", tmp_path / "cache"
    llm = merge_tiny(model_dir / "llm")
    config = TinyConfig(llm, SamplingConfig())
    built: list[Path] = []

    def built_or_not(*of_build: Any) -> Path:
        path: Path = of_build[4]
        built.append(path)
        if any(path.is_relative_to(folder) for folder in closed):
            raise error
        return build(*of_build)

    monkeypatch.setattr(opening, "build", built_or_not)
    monkeypatch.setenv("TRITONE_CACHE", str(cache))
    closed = [model_dir, cache]
    with pytest.raises(ModelDirectoryError, match=r"neither .*/llm nor .* set TRITONE_CACHE to"):
        ensure_graph(model_dir, config, "fp32")
    closed = [model_dir]
    path = ensure_graph(model_dir, config, "fp32")
    assert path.is_relative_to(cache / "graphs")
    OnnxSlots(model_dir / "llm", llm, precision="fp32", slots=1, slot_length=8, graph=path)
    count = len(built)
    assert ensure_graph(model_dir, config, "fp32") == path
    assert len(built) == count, "built again"


def test_other_errors_of_writing_a_graph_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "no space")

    llm = merge_tiny(tmp_path / "llm")
    monkeypatch.setattr(opening, "build", fails)
    with pytest.raises(OSError, match="no space"):
        ensure_graph(tmp_path, TinyConfig(llm, SamplingConfig()), "fp32")

"""The stand-in for TensorRT-LLM on sys.path, and a tiny model directory with an engine to match."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llm_model import Built, build_tiny
from paths import SUPPORT

FAKES = SUPPORT / "fake_trtllm"

Install = Callable[[str], None]


def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Yield a function that puts the stand-in of some version on sys.path."""

    def of_version(version: str) -> None:
        info = tmp_path / "site" / f"tensorrt_llm-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {version}\n"
        )
        monkeypatch.syspath_prepend(str(FAKES))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    yield of_version
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorrt_llm"]:
        del sys.modules[name]


def model_directory(folder: Path) -> Built:
    """A model directory that holds the tiny merged language model alone."""
    return folder, build_tiny(folder)


def write_engine(model_dir: Path, vocab_size: int, name: str = "sm90", **changes: Any) -> Path:
    """The configuration that trtllm-build leaves beside an engine; changes to its numbers."""
    numbers = {
        "version": "0.20.0",
        "world_size": 1,
        "max_batch_size": 4,
        "max_input_len": 100,
        "max_seq_len": 120,
        **changes,
    }
    folder = model_dir / "engines" / name / "llm"
    folder.mkdir(parents=True)
    config = {
        "version": numbers["version"],
        "pretrained_config": {
            "vocab_size": vocab_size,
            "mapping": {"world_size": numbers["world_size"], "tp_size": numbers["world_size"]},
        },
        "build_config": {
            key: numbers[key] for key in ("max_batch_size", "max_input_len", "max_seq_len")
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder

"""Tiny networks, and a release of them that is converted once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from indextts2_whole_release import whole_release

from tritone.checkpoints.conversion import ConvertOptions
from tritone.families.indextts2.convert import Conversion


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """More would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_release(tmp_path_factory.mktemp("indextts2") / "released")


@pytest.fixture(scope="package")
def converted(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("indextts2") / "model"
    Conversion(release, model, ConvertOptions()).run()
    return model


@pytest.fixture
def model(converted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(converted, tmp_path / "model")

"""Kernels in C, built once for the tests of a process."""

from pathlib import Path

import pytest
from native_kernels import build_into

from tritone.acoustic import attention


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skips where there is no compiler, and where no kernel is for this processor."""
    folder = tmp_path_factory.mktemp("built")
    build_into(folder)
    return folder


@pytest.fixture
def built(kernels_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process, and what it starts, finds them."""
    monkeypatch.setenv("TRITONE_KERNELS", str(kernels_folder))
    return kernels_folder


@pytest.fixture
def own_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test chooses ends with it."""
    monkeypatch.setattr(attention, "_ways", {})

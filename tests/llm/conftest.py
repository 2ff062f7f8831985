"""Kernels in C of the language model, built once for the tests of a process."""

from pathlib import Path

import pytest

from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import DECODER_KERNELS, compiler
from tritone.resources.kernels.library import opened


@pytest.fixture(scope="session")
def kernels_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skips where there is no compiler, and where no kernel is for this processor."""
    command, here = compiler(), [kernel for kernel in DECODER_KERNELS if kernel.runs_here]
    if command is None or not here:
        pytest.skip("no C compiler is here, or no kernel is for this processor")
    folder = tmp_path_factory.mktemp("built")
    for kernel in here:
        kernel.build(command, folder)
    return folder


@pytest.fixture
def built_kernels(kernels_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process, and what it starts, finds them."""
    monkeypatch.setenv("TRITONE_KERNELS", str(kernels_folder))
    return kernels_folder


@pytest.fixture(params=[kernel.name for kernel in DECODER_KERNELS])
def kernel(request: pytest.FixtureRequest, kernels_folder: Path) -> Path:
    """Each in turn; skips where this processor, or the system on it, does not run it."""
    one = next(kernel for kernel in DECODER_KERNELS if kernel.name == request.param)
    if not one.runs_here:
        pytest.skip(f"this processor lacks {one.lacking}")
    path = one.path_in(kernels_folder)
    try:
        opened(path)
    except EnvironmentProblem as problem:
        if "denies" not in str(problem):
            raise
        pytest.skip(str(problem))
    return path

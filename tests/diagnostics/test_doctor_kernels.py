"""The doctor's check of the kernels in C."""

from dataclasses import replace
from pathlib import Path

import pytest
from fake_compiler import fake_compiler
from machine_target import check, target_in

from tritone.diagnostics.doctor.check import Finding, Status
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import KERNELS, build_all


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return target_in(tmp_path)


@pytest.fixture(autouse=True)
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that pretends, for a processor that has everything, and whose kernels can be loaded."""
    monkeypatch.delenv("TRITONE_KERNELS")
    found = {need: True for kernel in KERNELS for need in kernel.needs}
    monkeypatch.setattr("tritone.resources.processor.instructions", lambda: found)
    monkeypatch.setattr("tritone.resources.kernels.library.opened", lambda *_: None)
    command, _ = fake_compiler(tmp_path)
    monkeypatch.setenv("CC", command)
    return command


def examined(target: Target) -> Finding:
    return check("kernels")(target)


def test_all_are_there(target: Target, compiler: str) -> None:
    folder = target.cache_dir / "kernels"
    build_all(folder)
    found = examined(target)
    assert found.status is Status.PASS
    names = ", ".join(kernel.title for kernel in KERNELS)
    assert found.text == f"{names} in {folder}; compiler: {compiler}"


def test_some_could_be_built(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = examined(target)
    assert found.status is Status.WARN
    assert f"not built for this processor: {', '.join(k.title for k in KERNELS)}" in found.text
    assert found.fix == f"tritone kernels --cache-dir {target.cache_dir}"
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examined(target)
    assert found.status is Status.WARN and "compiler: none" in found.text
    assert found.fix.startswith("apt-get install gcc; tritone kernels ")


def test_one_cannot_be_loaded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    build_all(target.cache_dir / "kernels")

    def refuse(path: Path) -> None:
        if "amx" in path.name:
            raise EnvironmentProblem(f"the kernel {path} cannot be loaded: failed to map segment")

    monkeypatch.setattr("tritone.resources.kernels.library.opened", refuse)
    found = examined(target)
    assert found.status is Status.WARN
    assert "amx.so cannot be loaded: failed to map segment" in found.text
    assert not found.text.startswith("attention-amx") and "TRITONE_KERNELS=DIR" in found.fix


def test_where_there_is_nothing_to_build(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(replace(target, profile="gpu")).status is Status.SKIP
    monkeypatch.setattr("tritone.resources.processor.instructions", lambda: {"avx2": True})
    found = examined(target)
    assert found.status is Status.PASS and "none for this processor" in found.text

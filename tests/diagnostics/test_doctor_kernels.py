"""The doctor's check of the kernels in C."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_compiler import fake_compiler
from machine_target import check, target_in
from paths import PROJECT
from waiting import HANG_S

from tritone.acoustic.kernels.build import KERNELS, build_all
from tritone.diagnostics.doctor.check import Finding, Status
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return target_in(tmp_path)


@pytest.fixture(autouse=True)
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that pretends, for a processor that has everything, and whose kernels can be loaded."""
    monkeypatch.delenv("TRITONE_KERNELS")
    found = {need: True for kernel in KERNELS for need in kernel.needs}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: found)
    monkeypatch.setattr("tritone.acoustic.kernels.native.opened", lambda *_: None)
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

    monkeypatch.setattr("tritone.acoustic.kernels.native.opened", refuse)
    found = examined(target)
    assert found.status is Status.WARN
    assert "amx.so cannot be loaded: failed to map segment" in found.text
    assert not found.text.startswith("attention-amx") and "TRITONE_KERNELS=DIR" in found.fix


def test_where_there_is_nothing_to_build(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(replace(target, profile="gpu")).status is Status.SKIP
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True})
    found = examined(target)
    assert found.status is Status.PASS and "none for this processor" in found.text


def test_without_torch_it_leaves_that_to_other_checks() -> None:
    """A module that is None in sys.modules cannot be imported."""
    program = (
        "import sys; sys.modules.update(torch=None)\n"
        "from tritone.diagnostics.doctor.checks.machine.kernels import kernels\n"
        "from tritone.diagnostics.doctor.target import Target\n"
        "found = kernels(Target()); print(found.status.value, found.text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.stdout.startswith("skip ") and "python.imports" in done.stdout, done.stderr

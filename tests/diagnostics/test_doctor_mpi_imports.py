"""Imports that never return are found with their place, and so is the way out that helps."""

from dataclasses import replace
from pathlib import Path

import pytest
from native_fakes import (
    Package,
    Program,
    compile_library,
    hide_variables,
    packages,
    programs,
)
from out_of_time import HANG, HANG_SH, by_marks, by_marks_too
from waiting import is_running

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.check import Check, Finding, Status
from tritone.diagnostics.doctor.checks.mpi import imports, installation
from tritone.diagnostics.doctor.checks.mpi.imports import Import, imported
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target

pytestmark = pytest.mark.slow

CHECKS = chosen(GENERAL, ["mpi"])

IMPORT = Import("tensorrt_llm", "import tensorrt_llm", first_s=1.0, again_s=2.0)
CPU, GPU = Target(profile="cpu"), Target(profile="gpu")


@pytest.fixture(autouse=True)
def _no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_variables(monkeypatch)
    by_marks(monkeypatch, tmp_path / "marks")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return packages(tmp_path, monkeypatch)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return programs(tmp_path, monkeypatch)


def hangs_if(condition: str) -> str:
    return f"import os\ndef sleeps():\n    {HANG}\nif {condition}: sleeps()\n"


def hanging(target: Target) -> Finding:
    """For a process of the doctor's own."""
    by_marks_too()
    return imported(IMPORT, target)


class TestMpirun:
    def test_mpirun_with_a_program_that_does_nothing(self, program) -> None:
        path = program("mpirun", 'shift 3; exec "$@"')
        finding = imports.mpirun(GPU)
        assert finding.status is Status.PASS
        assert f"`{path} -n 1 --allow-run-as-root true` took" in finding.text

    def test_mpirun_that_hangs_or_fails(self, program) -> None:
        hangs = [str(program("hanging", f"{HANG_SH}; true")), "true"]
        late = imports.launched(hangs, GPU, 0.5)
        assert late.status is Status.FAIL
        assert "does not end within 0.5 s" in late.text and "with sleep below it" in late.text
        fails = [str(program("failing", "echo no such host >&2; exit 3"))]
        assert "fails with status 3: no such host" in imports.launched(fails, GPU, 0.5).text


class TestImports:
    def test_an_import_that_works(self, package: Package) -> None:
        package("tensorrt_llm", "0.20.0")
        finding = imported(IMPORT, GPU)
        assert finding.status is Status.PASS
        assert "loaded no MPI library" in finding.text

    def test_one_that_fails(self, package: Package) -> None:
        error = "libmpi.so.40: cannot open shared object file: No such file or directory"
        package("tensorrt_llm", code=f"raise ImportError({error!r})")
        finding = imported(IMPORT, GPU)
        assert finding.status is Status.FAIL
        assert error in finding.text
        assert "mpi.libraries" in finding.fix

    def test_what_is_not_installed(self) -> None:
        assert imports.import_tensorrt_llm(CPU).status is Status.SKIP
        assert imports.import_mpi4py(CPU).status is Status.SKIP
        finding = imports.import_tensorrt_llm(GPU)
        assert finding.status is Status.FAIL
        assert "No module named 'tensorrt_llm'" in finding.text

    def test_a_hang_that_a_clean_environment_ends(self, package: Package, monkeypatch) -> None:
        package("tensorrt_llm", code=hangs_if("'PMIX_RANK' in os.environ"))
        monkeypatch.setenv("PMIX_RANK", "0")
        (diagnosis,) = examine([Check("mpi.tensorrt_llm", hanging)], GPU)
        finding = diagnosis.finding
        assert finding.status is Status.FAIL
        assert "`import tensorrt_llm` did not return within 1 s" in finding.text
        assert 'tensorrt_llm/__init__.py", line 3 in sleeps' in finding.text
        assert "without the launcher's variables it takes" in finding.text
        assert finding.fix == (
            "env -u PMIX_RANK tritone serve --profile gpu; to check: env -u PMIX_RANK "
            "tritone doctor --only mpi"
        )

    def test_a_hang_that_ends_without_a_daemon(self, package: Package) -> None:
        awaits = "'OMPI_MCA_ess_singleton_isolated' not in os.environ"
        package("tensorrt_llm", code=hangs_if(awaits))
        finding = imported(IMPORT, GPU)
        assert "without a daemon it takes" in finding.text
        start = "env OMPI_MCA_ess_singleton_isolated=1 tritone"
        assert finding.fix.startswith(f"{start} serve --profile gpu")
        assert f"{start} doctor --only mpi" in finding.fix

    def test_a_hang_that_ends_under_mpirun(self, package: Package, program) -> None:
        path = program("mpirun", 'shift 3; OMPI_COMM_WORLD_SIZE=1 exec "$@"')
        awaits = "'OMPI_COMM_WORLD_SIZE' not in os.environ"
        package("tensorrt_llm", code=hangs_if(awaits))
        finding = imported(IMPORT, GPU)
        assert "without a daemon it hangs too (2 s)" in finding.text
        assert "under mpirun it takes" in finding.text
        assert finding.fix.startswith(f"{path} -n 1 --allow-run-as-root tritone serve")

    def test_nothing_helps_and_nothing_is_left(self, package: Package, tmp_path: Path) -> None:
        orted, pids = tmp_path / "orted", tmp_path / "pids"
        orted.symlink_to("/bin/sleep")
        code = (
            "import subprocess\n"
            f"daemon = subprocess.Popen([{str(orted)!r}, '1000'], start_new_session=True)\n"
            f"open({str(pids)!r}, 'a').write(f'{{daemon.pid}}\\n')\n"
            f"{HANG}\n"
        )
        package("tensorrt_llm", code=code)
        finding = imported(IMPORT, replace(GPU, profile="gpu-llmapi"))
        assert ", with orted below it; without a daemon it hangs too (2 s)" in finding.text
        assert "-D ENABLE_MULTI_DEVICE=0" in finding.fix
        assert "--profile gpu-torch" in finding.fix
        started = [int(line) for line in pids.read_text().split()]
        assert len(started) == 2
        assert not any(map(is_running, started))

    def test_two_libraries_in_one_process(self, package: Package, tmp_path) -> None:
        paths = [tmp_path / name / "libmpi.so.40" for name in ("a", "b")]
        for path in paths:
            compile_library(path, "int MPI_Init(void) { return 0; }")
        package(
            "tensorrt_llm", code=f"import ctypes\n[ctypes.CDLL(p) for p in {[*map(str, paths)]}]"
        )
        finding = imported(IMPORT, GPU)
        assert finding.status is Status.FAIL
        assert f"loads two MPI libraries: {paths[0]}, {paths[1]}" in finding.text


def test_every_check_has_time_for_its_parts() -> None:
    limits = {check.name: check.limit_s for check in CHECKS}
    for name, what in (
        ("mpi.import", imports.MPI4PY_IMPORT),
        ("mpi.tensorrt_llm", imports.TRTLLM_IMPORT),
    ):
        assert what.first_s + what.again_s < limits[name] < 60
    assert installation.needs_mpi(replace(GPU, profile="gpu-backend"))
    assert not installation.needs_mpi(replace(GPU, profile="gpu-torch"))

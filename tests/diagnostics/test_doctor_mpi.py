"""The doctor finds what makes MPI hang without importing it: variables, libraries, the machine."""

import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import psutil
import pytest
from native_fakes import (
    Package,
    Program,
    compile_library,
    hide_variables,
    packages,
    programs,
    write_library,
)
from waiting import HANG_S

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.mpi import host, imports, installation, libraries
from tritone.diagnostics.doctor.elf import read_library
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target

CPU, GPU = Target(profile="cpu"), Target(profile="gpu")


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_variables(monkeypatch)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return packages(tmp_path, monkeypatch)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return programs(tmp_path, monkeypatch)


class TestElf:
    def test_what_a_library_needs(self, tmp_path: Path) -> None:
        path = write_library(
            tmp_path / "libx.so", "libmpi.so.40", "libc.so.6", runpath="$ORIGIN/../lib:/opt/mpi"
        )
        library = read_library(path)
        assert library.needed == ("libmpi.so.40", "libc.so.6")
        assert library.folders == (tmp_path / ".." / "lib", Path("/opt/mpi"))

    def test_a_real_one(self) -> None:
        mapped = Path("/proc/self/maps").read_text().split()
        libc = next(Path(word) for word in mapped if "/libc.so" in word or "/libc-" in word)
        assert any(name.startswith("ld-linux") for name in read_library(libc).needed)

    def test_what_is_none(self, tmp_path: Path) -> None:
        text = tmp_path / "text.so"
        text.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ValueError, match="no 64-bit little-endian ELF"):
            read_library(text)
        cut = write_library(tmp_path / "cut.so", "libmpi.so.40")
        cut.write_bytes(cut.read_bytes()[:130])
        with pytest.raises(ValueError, match="cut short"):
            read_library(cut)


class TestVersions:
    def test_a_cpu_without_mpi_is_left_alone(self) -> None:
        for run in (
            installation.versions,
            installation.launcher,
            libraries.libraries,
            host.hostname,
        ):
            finding = run(CPU)
            assert finding.status is Status.SKIP
            assert "profile cpu needs no tensorrt_llm" in finding.text

    def test_a_gpu_profile_needs_mpi4py(self) -> None:
        finding = installation.versions(GPU)
        assert finding.status is Status.FAIL
        assert "mpi4py is not installed; tensorrt_llm is not installed" in finding.text

    def test_an_old_mpi4py(self, package: Package) -> None:
        package("mpi4py", "3.1.6")
        package("tensorrt_llm", "0.20.0")
        finding = installation.versions(GPU)
        assert finding.status is Status.FAIL
        assert "mpi4py 3.1.6, tensorrt_llm 0.20.0; imports are known to hang" in finding.text
        assert "mpi4py>=4" in finding.fix
        assert installation.versions(CPU).status is Status.WARN, "not needed, but there"

    def test_mpi4py_of_another_python(self, package: Package) -> None:
        folder = package("mpi4py", "4.0.3")
        (folder / "MPI.cpython-39-x86_64-linux-gnu.so").touch()
        assert f"has no MPI*{EXTENSION_SUFFIXES[0]}" in installation.versions(GPU).text
        (folder / f"MPI{EXTENSION_SUFFIXES[0]}").touch()
        assert installation.versions(GPU).status is Status.PASS


class TestEnvironment:
    def test_none(self) -> None:
        assert installation.environment(CPU).status is Status.PASS

    def test_what_a_launcher_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PMIX_RANK", "0")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("OMPI_MCA_btl", "self")  # a setting of the user, not of a job
        (diagnosis,) = examine([installation.environment], GPU)
        assert diagnosis.check.name == "mpi.environment"
        assert diagnosis.finding.status is Status.WARN
        assert "this process is not part of: PMIX_RANK, SLURM_JOB_ID." in diagnosis.finding.text
        serve = "env -u PMIX_RANK -u SLURM_JOB_ID tritone serve --profile gpu"
        assert diagnosis.finding.fix.startswith(serve)
        assert diagnosis.finding.fix.endswith("tritone doctor --only mpi")

    def test_the_backend_does_not_clean_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
        assert installation.environment(replace(GPU, profile="gpu-backend")).status is Status.FAIL

    def test_under_a_launcher_they_are_right(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PMIX_RANK", "0")
        monkeypatch.setattr(installation, "_LAUNCHERS", (psutil.Process().parent().name(),))
        finding = installation.environment(GPU)
        assert finding.status is Status.PASS
        assert "PMIX_RANK: this runs under" in finding.text

    def test_a_switch_that_does_nothing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENABLE_MULTI_DEVICE", "0")
        assert "ENABLE_MULTI_DEVICE cannot stop MPI" in installation.environment(GPU).text


class TestLauncher:
    def test_the_daemon_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "neither of orted, prted, prterun is in PATH" in installation.launcher(GPU).text
        assert "no mpirun" in imports.mpirun(GPU).text

    def test_it_is_below_opal_prefix(self, monkeypatch, tmp_path: Path, program) -> None:
        path = program("orted", "true")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("OPAL_PREFIX", str(path.parents[1]))
        assert installation.launcher(GPU).status is Status.PASS

    def test_opal_prefix_names_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPAL_PREFIX", "/nonexistent/ompi")
        finding = installation.launcher(GPU)
        assert finding.status is Status.FAIL
        assert "OPAL_PREFIX is /nonexistent/ompi" in finding.text


class TestLibraries:
    @pytest.fixture
    def built(self, package: Package) -> Callable[[str, str], None]:
        """mpi4py and tensorrt_llm, each against an MPI library; "" is against none."""

        def build(mpi4py: str, trtllm: str) -> None:
            write_library(package("mpi4py", "4.0.3") / f"MPI{EXTENSION_SUFFIXES[0]}", mpi4py)
            libs = package("tensorrt_llm", "0.20.0") / "libs"
            write_library(libs / "libtensorrt_llm.so", *([trtllm] if trtllm else []), "libc.so.6")

        return build

    def test_two_different_ones(self, built) -> None:
        built("libmpi.so.12", "libmpi.so.40")
        finding = libraries.libraries(GPU)
        assert finding.status is Status.FAIL
        assert "two MPI libraries in one process" in finding.text
        assert "MPICH (libmpi.so.12) for mpi4py/MPI" in finding.text
        assert "Open MPI (libmpi.so.40) for libs/libtensorrt_llm.so" in finding.text
        assert "--no-binary mpi4py" in finding.fix

    def test_one_that_the_loader_does_not_find(self, built, monkeypatch) -> None:
        built("libmpi.so.40", "libmpi.so.40")
        monkeypatch.setattr(libraries, "OPEN_MPI", "libmpi.so.40")
        (diagnosis,) = examine([libraries.libraries], GPU)
        if diagnosis.finding.status is Status.PASS:
            pytest.skip("Open MPI is installed here")
        assert "libmpi.so.40: cannot open shared object file" in diagnosis.finding.text
        assert "LD_LIBRARY_PATH=/usr/local/mpi/lib" in diagnosis.finding.fix

    def test_wheels_of_mpi4py_take_what_there_is(self, package: Package) -> None:
        folder = package("mpi4py", "4.1.0")
        for abi, name in (("openmpi", "libmpi.so.40"), ("mpich", "libmpi.so.12")):
            write_library(folder / f"MPI.{abi}{EXTENSION_SUFFIXES[0]}", name)
        libs = package("tensorrt_llm") / "libs"
        write_library(libs / "libtensorrt_llm.so", "libmpi.so.40")
        users = libraries.find_users(GPU)
        assert set(users.fixed) == {"libmpi.so.40"}
        assert set(users.offered) == {"libmpi.so.40", "libmpi.so.12"}
        write_library(libs / "libtensorrt_llm.so", "libmpi.so.99")
        finding = libraries.libraries(GPU)
        assert finding.status is Status.FAIL
        assert "an unknown MPI (libmpi.so.99)" in finding.text

    @pytest.mark.parametrize("needs, built_with", [("libmpi.so.40", True), ("", False)])
    def test_whether_it_is_built_with_multi_device(self, built, needs, built_with) -> None:
        built("libmpi.so.40", needs)
        assert libraries.find_users(GPU).multi_device is built_with

    def test_a_library_beside_is_loaded(self, package: Package, tmp_path: Path) -> None:
        folder = package("mpi4py", "4.0.3")
        compile_library(tmp_path / "mpi" / "libmpi.so.40", "int MPI_Init(void) { return 0; }")
        extension = folder / f"MPI{EXTENSION_SUFFIXES[0]}"
        write_library(extension, "libmpi.so.40", runpath=str(tmp_path / "mpi"))
        finding = libraries.libraries(GPU)
        assert finding.status is Status.PASS
        assert str(tmp_path / "mpi" / "libmpi.so.40") in finding.text

    def test_half_a_library(self, package: Package) -> None:
        (package("mpi4py") / "MPI.so").write_bytes(b"\x7fELF\2\1")
        assert "cut short" in libraries.libraries(GPU).text


class TestHost:
    def test_tmpdir(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TMPDIR", "/tmp")
        assert host.tmpdir(GPU).status is Status.PASS
        monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
        finding = host.tmpdir(GPU)
        assert finding.status is Status.FAIL
        assert f"TMPDIR {tmp_path}/gone: no file can be made there" in finding.text
        assert finding.fix.startswith("export TMPDIR=/tmp")

    def test_a_long_path(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folder = tmp_path / ("d" * 100)
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        assert "is too long: a session of Open MPI there is" in host.tmpdir(GPU).text
        assert host.tmpdir(CPU).status is Status.WARN

    def test_the_host_name_must_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.socket, "gethostname", lambda: "nowhere.invalid")
        monkeypatch.setattr(host, "_address", lambda name: "")
        monkeypatch.setattr(host, "RESOLVE_S", HANG_S)
        finding = host.hostname(GPU)
        assert finding.text == "the host name nowhere.invalid does not resolve"
        assert finding.fix == 'echo "127.0.0.1 nowhere.invalid" >> /etc/hosts'

    def test_a_resolver_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = threading.Event()
        monkeypatch.setattr(host, "_address", lambda name: str(stop.wait(HANG_S)))
        monkeypatch.setattr(host, "RESOLVE_S", 0.1)
        assert "is not resolved in 0.1 s" in host.hostname(GPU).text
        stop.set()

    def test_a_long_host_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host.socket, "gethostname", lambda: "n" * 64)
        assert "the host name has 64 bytes, 63 are the limit" in host.hostname(GPU).text

    def test_this_loopback_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(host, "REFUSE_S", HANG_S)
        assert host.loopback(GPU).status is Status.PASS

    @pytest.mark.parametrize("seconds, refused", [(2.0, False), (0.4, True)])
    def test_a_loopback_that_swallows(self, monkeypatch, seconds, refused) -> None:
        monkeypatch.setattr(host, "_refusal", lambda: (seconds, refused))
        finding = host.loopback(GPU)
        assert finding.status is Status.FAIL
        assert f"after {seconds:.2f} s" in finding.text

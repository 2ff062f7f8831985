"""The doctor finds what makes MPI hang: planted variables, libraries, launchers and imports."""

import os
import struct
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import psutil
import pytest

from tritone.doctor.check import Check, Finding, Status
from tritone.doctor.checks import mpi, mpi_host, mpi_imports, mpi_install, mpi_libraries
from tritone.doctor.checks.mpi_imports import Import, imported
from tritone.doctor.elf import read_library
from tritone.doctor.examine import examine
from tritone.doctor.target import Target
from tritone.trtllm.environment import is_inherited

QUICK = Import("tensorrt_llm", "import tensorrt_llm", first_s=1.0, again_s=10.0)
CPU, GPU = Target(profile="cpu"), Target(profile="gpu")

Package = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine has of MPI is out of sight."""
    for name in list(filter(is_inherited, os.environ)):
        monkeypatch.delenv(name)
    for name in ("OPAL_PREFIX", "TMPDIR", "TEMP", "TMP", *mpi._WITHOUT_EFFECT):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes a package of some version and code that this process and its children find."""
    site = tmp_path / "site"
    site.mkdir()
    tests = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{tests}")
    monkeypatch.syspath_prepend(str(site))

    def make(name: str, version: str = "", code: str = "") -> Path:
        folder = site / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
        if version:
            info = site / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        return folder

    return make


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a shell script on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def write_library(path: Path, *needed: str, runpath: str = "") -> Path:
    """A shared library of nothing but a dynamic section."""
    strings, places = b"\0", {}
    for text in (*needed, runpath, path.name):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    at = 64 + 2 * 56
    entries = [(1, places[name]) for name in needed] + [(5, at), (14, places[path.name])]
    entries += [(29, places[runpath])] if runpath else []
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (0, 0)])
    size = at + len(strings) + len(dynamic)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    start = at + len(strings)
    section = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + load + section + strings + dynamic)
    return path


class TestElf:
    def test_what_a_library_needs(self, tmp_path: Path) -> None:
        path = write_library(
            tmp_path / "libx.so", "libmpi.so.40", "libc.so.6", runpath="$ORIGIN/../lib:/opt/mpi"
        )
        library = read_library(path)
        assert library.soname == "libx.so"
        assert library.needed == ("libmpi.so.40", "libc.so.6")
        assert library.folders == (tmp_path / ".." / "lib", Path("/opt/mpi"))

    def test_a_real_one(self) -> None:
        mapped = Path("/proc/self/maps").read_text().split()
        libc = next(Path(word) for word in mapped if "/libc.so" in word or "/libc-" in word)
        assert read_library(libc).soname == "libc.so.6"

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
        for run in (mpi.versions, mpi.launcher, mpi_libraries.libraries, mpi_host.hostname):
            finding = run(CPU)
            assert finding.status is Status.SKIP
            assert "profile cpu needs no tensorrt_llm" in finding.text

    def test_a_gpu_profile_needs_mpi4py(self) -> None:
        finding = mpi.versions(GPU)
        assert finding.status is Status.FAIL
        assert "mpi4py is not installed; tensorrt_llm is not installed" in finding.text

    def test_an_old_mpi4py(self, package: Package) -> None:
        package("mpi4py", "3.1.6")
        package("tensorrt_llm", "0.20.0")
        finding = mpi.versions(GPU)
        assert finding.status is Status.FAIL
        assert "mpi4py 3.1.6, tensorrt_llm 0.20.0; imports are known to hang" in finding.text
        assert "mpi4py>=4" in finding.fix
        assert mpi.versions(CPU).status is Status.WARN, "not needed, but there"

    def test_mpi4py_of_another_python(self, package: Package) -> None:
        folder = package("mpi4py", "4.0.3")
        (folder / "MPI.cpython-39-x86_64-linux-gnu.so").touch()
        assert f"has no MPI*{EXTENSION_SUFFIXES[0]}" in mpi.versions(GPU).text
        (folder / f"MPI{EXTENSION_SUFFIXES[0]}").touch()
        assert mpi.versions(GPU).status is Status.PASS


class TestEnvironment:
    def test_none(self) -> None:
        assert mpi.environment(CPU).status is Status.PASS

    def test_what_a_launcher_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PMIX_RANK", "0")
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("OMPI_MCA_btl", "self")  # a setting of the user, not of a job
        (diagnosis,) = examine([mpi.CHECKS[1]], GPU)
        assert diagnosis.check.name == "mpi.environment"
        assert diagnosis.finding.status is Status.WARN
        assert "this process is not part of: PMIX_RANK, SLURM_JOB_ID." in diagnosis.finding.text
        serve = "env -u PMIX_RANK -u SLURM_JOB_ID python scripts/serve.py --profile gpu"
        assert diagnosis.finding.fix.startswith(serve)
        assert diagnosis.finding.fix.endswith("python scripts/doctor.py --only mpi")

    def test_the_backend_does_not_clean_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
        assert mpi.environment(replace(GPU, profile="gpu-backend")).status is Status.FAIL

    def test_under_a_launcher_they_are_right(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PMIX_RANK", "0")
        monkeypatch.setattr(mpi, "_LAUNCHERS", (psutil.Process().parent().name()[:15],))
        finding = mpi.environment(GPU)
        assert finding.status is Status.PASS
        assert "PMIX_RANK: this runs under" in finding.text

    def test_a_switch_that_does_nothing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENABLE_MULTI_DEVICE", "0")
        assert "ENABLE_MULTI_DEVICE cannot stop MPI" in mpi.environment(GPU).text


class TestLauncher:
    def test_the_daemon_is_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "neither of orted, prted, prterun is in PATH" in mpi.launcher(GPU).text
        assert "no mpirun" in mpi_imports.mpirun(GPU).text

    def test_it_is_below_opal_prefix(self, monkeypatch, tmp_path: Path, programs) -> None:
        path = programs("orted", "true")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("OPAL_PREFIX", str(path.parents[1]))
        assert mpi.launcher(GPU).status is Status.PASS

    def test_opal_prefix_names_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPAL_PREFIX", "/nonexistent/ompi")
        finding = mpi.launcher(GPU)
        assert finding.status is Status.FAIL
        assert "OPAL_PREFIX is /nonexistent/ompi" in finding.text

    def test_mpirun_with_a_program_that_does_nothing(self, programs) -> None:
        path = programs("mpirun", 'shift 3; exec "$@"')
        finding = mpi_imports.mpirun(GPU)
        assert finding.status is Status.PASS
        assert f"`{path} -n 1 --allow-run-as-root true` took" in finding.text

    def test_mpirun_that_hangs_or_fails(self, programs) -> None:
        hangs = [str(programs("hanging", "sleep 1000; true")), "true"]
        late = mpi_imports.launched(hangs, GPU, 0.5)
        assert late.status is Status.FAIL
        assert "does not end within 0.5 s" in late.text and "with sleep below it" in late.text
        fails = [str(programs("failing", "echo no such host >&2; exit 3"))]
        assert "fails with status 3: no such host" in mpi_imports.launched(fails, GPU, 5).text


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
        finding = mpi_libraries.libraries(GPU)
        assert finding.status is Status.FAIL
        assert "two MPI libraries in one process" in finding.text
        assert "MPICH (libmpi.so.12) for mpi4py/MPI" in finding.text
        assert "Open MPI (libmpi.so.40) for libs/libtensorrt_llm.so" in finding.text
        assert "--no-binary mpi4py" in finding.fix

    def test_one_that_the_loader_does_not_find(self, built, monkeypatch) -> None:
        built("libmpi.so.40", "libmpi.so.40")
        monkeypatch.setattr(mpi_libraries, "OPEN_MPI", "libmpi.so.40")
        (diagnosis,) = examine(mpi_libraries.CHECKS, GPU)
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
        users = mpi_libraries.find_users(GPU)
        assert set(users.fixed) == {"libmpi.so.40"}
        assert set(users.offered) == {"libmpi.so.40", "libmpi.so.12"}
        write_library(libs / "libtensorrt_llm.so", "libmpi.so.99")
        finding = mpi_libraries.libraries(GPU)
        assert finding.status is Status.FAIL
        assert "an unknown MPI (libmpi.so.99)" in finding.text

    @pytest.mark.parametrize("needs, built_with", [("libmpi.so.40", True), ("", False)])
    def test_whether_it_is_built_with_multi_device(self, built, needs, built_with) -> None:
        built("libmpi.so.40", needs)
        assert mpi_libraries.find_users(GPU).multi_device is built_with

    def test_a_library_beside_is_loaded(self, package: Package, tmp_path: Path, compiler) -> None:
        folder = package("mpi4py", "4.0.3")
        compiler(tmp_path / "mpi" / "libmpi.so.40", "int MPI_Init(void) { return 0; }")
        extension = folder / f"MPI{EXTENSION_SUFFIXES[0]}"
        write_library(extension, "libmpi.so.40", runpath=str(tmp_path / "mpi"))
        finding = mpi_libraries.libraries(GPU)
        assert finding.status is Status.PASS
        assert str(tmp_path / "mpi" / "libmpi.so.40") in finding.text

    def test_half_a_library(self, package: Package) -> None:
        (package("mpi4py") / "MPI.so").write_bytes(b"\x7fELF\2\1")
        assert "cut short" in mpi_libraries.libraries(GPU).text


@pytest.fixture
def compiler() -> Callable[[Path, str], None]:
    """Compiles C into a shared library, where there is a compiler."""

    def build(path: Path, code: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
        try:
            subprocess.run(command, input=code.encode(), check=True)
        except FileNotFoundError:
            pytest.skip("no C compiler")

    return build


class TestHost:
    def test_tmpdir(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TMPDIR", "/tmp")
        assert mpi_host.tmpdir(GPU).status is Status.PASS
        monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
        finding = mpi_host.tmpdir(GPU)
        assert finding.status is Status.FAIL
        assert f"TMPDIR {tmp_path}/gone: no file can be made there" in finding.text
        assert finding.fix.startswith("export TMPDIR=/tmp")

    def test_a_long_path(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folder = tmp_path / ("d" * 100)
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        assert "is too long: a session of Open MPI there is" in mpi_host.tmpdir(GPU).text
        assert mpi_host.tmpdir(CPU).status is Status.WARN

    def test_the_host_name_must_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mpi_host.socket, "gethostname", lambda: "nowhere.invalid")
        monkeypatch.setattr(mpi_host, "_address", lambda name: "")
        finding = mpi_host.hostname(GPU)
        assert finding.text == "the host name nowhere.invalid does not resolve"
        assert finding.fix == 'echo "127.0.0.1 nowhere.invalid" >> /etc/hosts'

    def test_a_resolver_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = threading.Event()
        monkeypatch.setattr(mpi_host, "_address", lambda name: str(stop.wait(30)))
        monkeypatch.setattr(mpi_host, "RESOLVE_S", 0.1)
        assert "is not resolved in 0.1 s" in mpi_host.hostname(GPU).text
        stop.set()

    def test_a_long_host_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mpi_host.socket, "gethostname", lambda: "n" * 64)
        assert "the host name has 64 bytes, 63 are the limit" in mpi_host.hostname(GPU).text

    def test_this_loopback_refuses(self) -> None:
        assert mpi_host.loopback(GPU).status is Status.PASS

    @pytest.mark.parametrize("seconds, refused", [(2.0, False), (0.4, True)])
    def test_a_loopback_that_swallows(self, monkeypatch, seconds, refused) -> None:
        monkeypatch.setattr(mpi_host, "_refusal", lambda: (seconds, refused))
        finding = mpi_host.loopback(GPU)
        assert finding.status is Status.FAIL
        assert f"after {seconds:.2f} s" in finding.text


HANGS_UNLESS = "import os, time\ndef sleeps():\n    time.sleep(1000)\nif {}: sleeps()\n"


def hanging(target: Target) -> Finding:
    """For a process of the doctor's own."""
    return imported(QUICK, target)


class TestImports:
    def test_an_import_that_works(self, package: Package) -> None:
        package("tensorrt_llm", "0.20.0")
        finding = imported(QUICK, GPU)
        assert finding.status is Status.PASS
        assert "loaded no MPI library" in finding.text

    def test_one_that_fails(self, package: Package) -> None:
        error = "libmpi.so.40: cannot open shared object file: No such file or directory"
        package("tensorrt_llm", code=f"raise ImportError({error!r})")
        finding = imported(QUICK, GPU)
        assert finding.status is Status.FAIL
        assert error in finding.text
        assert "mpi.libraries" in finding.fix

    def test_what_is_not_installed(self) -> None:
        assert mpi_imports.import_tensorrt_llm(CPU).status is Status.SKIP
        assert mpi_imports.import_mpi4py(CPU).status is Status.SKIP
        finding = mpi_imports.import_tensorrt_llm(GPU)
        assert finding.status is Status.FAIL
        assert "No module named 'tensorrt_llm'" in finding.text

    def test_a_hang_that_a_clean_environment_ends(self, package: Package, monkeypatch) -> None:
        package("tensorrt_llm", code=HANGS_UNLESS.format("'PMIX_RANK' in os.environ"))
        monkeypatch.setenv("PMIX_RANK", "0")
        (diagnosis,) = examine([Check("mpi.tensorrt_llm", hanging, limit_s=20)], GPU)
        finding = diagnosis.finding
        assert finding.status is Status.FAIL
        assert "`import tensorrt_llm` did not return within 1 s" in finding.text
        assert "tensorrt_llm/__init__.py, line 3, sleeps" in finding.text
        assert "without the launcher's variables it takes" in finding.text
        assert finding.fix == (
            "env -u PMIX_RANK python scripts/serve.py --profile gpu; to check: env -u PMIX_RANK "
            "python scripts/doctor.py --only mpi"
        )

    def test_a_hang_that_ends_without_a_daemon(self, package: Package) -> None:
        awaits = "'OMPI_MCA_ess_singleton_isolated' not in os.environ"
        package("tensorrt_llm", code=HANGS_UNLESS.format(awaits))
        finding = imported(QUICK, GPU)
        assert "without a daemon it takes" in finding.text
        start = "env OMPI_MCA_ess_singleton_isolated=1 python scripts/"
        assert finding.fix.startswith(f"{start}serve.py --profile gpu")
        assert f"{start}doctor.py --only mpi" in finding.fix

    def test_a_hang_that_ends_under_mpirun(self, package: Package, programs) -> None:
        path = programs("mpirun", 'shift 3; OMPI_COMM_WORLD_SIZE=1 exec "$@"')
        awaits = "'OMPI_COMM_WORLD_SIZE' not in os.environ"
        package("tensorrt_llm", code=HANGS_UNLESS.format(awaits))
        finding = imported(replace(QUICK, again_s=2.0), GPU)
        assert "without a daemon it hangs too (2 s)" in finding.text
        assert "under mpirun it takes" in finding.text
        assert finding.fix.startswith(f"{path} -n 1 --allow-run-as-root python scripts/serve.py")

    def test_nothing_helps_and_nothing_is_left(self, package: Package, tmp_path: Path) -> None:
        orted, pids = tmp_path / "orted", tmp_path / "pids"
        orted.symlink_to("/bin/sleep")
        code = (
            "import subprocess, time\n"
            f"daemon = subprocess.Popen([{str(orted)!r}, '1000'], start_new_session=True)\n"
            f"open({str(pids)!r}, 'a').write(f'{{daemon.pid}}\\n')\n"
            "time.sleep(1000)\n"
        )
        package("tensorrt_llm", code=code)
        finding = imported(replace(QUICK, again_s=1.0), replace(GPU, profile="gpu-llmapi"))
        assert ", with orted below it; without a daemon it hangs too (1 s)" in finding.text
        assert "-D ENABLE_MULTI_DEVICE=0" in finding.fix
        assert "--profile gpu-torch" in finding.fix
        started = [int(line) for line in pids.read_text().split()]
        assert len(started) == 2
        assert not any(psutil.pid_exists(pid) for pid in started if not _ended(pid))

    def test_two_libraries_in_one_process(self, package: Package, tmp_path, compiler) -> None:
        paths = [tmp_path / name / "libmpi.so.40" for name in ("a", "b")]
        for path in paths:
            compiler(path, "int MPI_Init(void) { return 0; }")
        package(
            "tensorrt_llm", code=f"import ctypes\n[ctypes.CDLL(p) for p in {[*map(str, paths)]}]"
        )
        finding = imported(QUICK, GPU)
        assert finding.status is Status.FAIL
        assert f"loads two MPI libraries: {paths[0]}, {paths[1]}" in finding.text


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_every_check_has_time_for_its_parts() -> None:
    limits = {check.name: check.limit_s for check in mpi.CHECKS}
    for name, what in (
        ("mpi.import", mpi_imports.MPI4PY_IMPORT),
        ("mpi.tensorrt_llm", mpi_imports.TRTLLM_IMPORT),
    ):
        assert what.first_s + what.again_s < limits[name] < 60
    assert mpi_install.needs_mpi(replace(GPU, profile="gpu-backend"))
    assert not mpi_install.needs_mpi(replace(GPU, profile="gpu-torch"))

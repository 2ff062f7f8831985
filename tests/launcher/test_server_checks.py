"""The launcher's checks and parts, without a server."""

import dataclasses
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_server import free_ports

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.launcher import ServerSettings, binaries, checks, command
from tritone.launcher.binaries import STUB, Binaries
from tritone.launcher.links import Links

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
    cache = tmp_path / "cache"
    return ServerSettings(repository, tmp_path / "wheel", cache_dir=cache, **free_ports())


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

"""What a GPU profile needs is missed by name before the server starts."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.protobuf import text_format
from paths import PROJECT
from tritonclient.grpc import model_config_pb2
from trtllm_fixtures import write_engine

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.launcher import ServerSettings, command, profiles
from tritone.launcher.binaries import Binaries
from tritone.launcher.links import Links
from tritone.launcher.profiles import check_profile, with_engine

BINARIES = Binaries(Path("/opt/tritonserver/bin/tritonserver"), None, {}, None)
LINKS = Links(Path("/nonexistent"))  # none is needed


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(
        PROJECT / "model_repo",
        tmp_path / "wheel",
        profile="gpu",
        model_dir=tmp_path / "model",
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the machine seems to have."""

    def have(
        *, driver: bool = True, torch: str = "Optional[str] = '12.8'", trtllm: str | None = "0.20.0"
    ) -> None:
        device = tmp_path / "nvidiactl"
        if driver:
            device.touch()
        monkeypatch.setattr(profiles, "DRIVER_FILES", (device,))
        monkeypatch.setenv("PATH", str(tmp_path))
        folder = tmp_path / "torch"
        folder.mkdir()
        (folder / "version.py").write_text(f"__version__ = '2.13.0'\ncuda: {torch}\nhip = None\n")
        spec = SimpleNamespace(origin=str(folder / "__init__.py"))
        monkeypatch.setattr(profiles.importlib.util, "find_spec", lambda name: spec)

        def version(name: str) -> str:
            if name == "tensorrt_llm" and trtllm is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return trtllm if name == "tensorrt_llm" else "2.13.0"

        monkeypatch.setattr(profiles.importlib.metadata, "version", version)

    return have


class TestChecks:
    def test_the_cpu_profile_needs_nothing(self, settings: ServerSettings) -> None:
        check_profile(replace(settings, profile="cpu"), None)

    @pytest.mark.parametrize("profile", ["gpu", "gpu-torch", "gpu-llmapi", "gpu-backend"])
    def test_no_driver(self, settings: ServerSettings, machine, profile) -> None:
        machine(driver=False)
        with pytest.raises(EnvironmentProblem, match=rf"^profile {profile}: no NVIDIA.*--gpus all"):
            check_profile(replace(settings, profile=profile), None)

    def test_torch_without_cuda(self, settings: ServerSettings, machine) -> None:
        machine(torch="Optional[str] = None")
        with pytest.raises(EnvironmentProblem, match=r"torch 2\.13\.0 is built for the CPU alone"):
            check_profile(replace(settings, profile="gpu-torch"), None)

    @pytest.mark.parametrize("profile", ["gpu", "gpu-llmapi"])
    def test_no_tensorrt_llm(self, settings: ServerSettings, machine, profile) -> None:
        machine(trtllm=None)
        with pytest.raises(EnvironmentProblem, match=r"tensorrt_llm is not inst.*--profile gpu-t"):
            check_profile(replace(settings, profile=profile), None)

    def test_llm_api_of_an_old_version(self, settings: ServerSettings, machine) -> None:
        machine(trtllm="0.20.0")
        with pytest.raises(EnvironmentProblem, match=r"0\.20\.0 is installed and 1\.0 or later"):
            check_profile(replace(settings, profile="gpu-llmapi"), None)

    def test_no_engine(self, settings: ServerSettings, machine) -> None:
        machine()
        with pytest.raises(ModelDirectoryError, match=r"no TensorRT-LLM .*`tritone engines`"):
            check_profile(settings, None)

    def test_a_server_without_the_cpp_backend(
        self, settings: ServerSettings, machine, tmp_path: Path
    ) -> None:
        machine()
        backend = replace(settings, profile="gpu-backend")
        with pytest.raises(EnvironmentProblem, match=r"has no tensorrtllm/.*or --profile gpu$"):
            check_profile(backend, tmp_path)

    @pytest.mark.parametrize("profile", ["gpu", "gpu-llmapi"])
    def test_a_language_model_elsewhere_needs_nothing_here(
        self, settings: ServerSettings, machine, profile
    ) -> None:
        machine(trtllm=None)
        elsewhere = {"tensorrt_llm": {"url": "llm:8001"}}
        check_profile(replace(settings, profile=profile, parameters=elsewhere), None)

    def test_nvidias_backend_cannot_have_it_elsewhere(self, settings: ServerSettings) -> None:
        elsewhere = {"tensorrt_llm": {"url": "llm:8001"}}
        with pytest.raises(EnvironmentProblem, match=r"knows nothing of tensorrt_llm\.url"):
            check_profile(replace(settings, profile="gpu-backend", parameters=elsewhere), None)

    def test_all_pieces_there(self, settings: ServerSettings, machine, tmp_path: Path) -> None:
        machine()
        assert settings.model_dir is not None
        write_engine(settings.model_dir, 6912)
        library = tmp_path / "backends" / "tensorrtllm" / "libtriton_tensorrtllm.so"
        library.parent.mkdir(parents=True)
        library.touch()
        for profile in ("gpu", "gpu-torch", "gpu-backend"):
            check_profile(replace(settings, profile=profile), tmp_path / "backends")

    def test_an_engine_chosen_in_the_configuration(
        self, settings: ServerSettings, machine, tmp_path: Path
    ) -> None:
        machine()
        assert settings.model_dir is not None
        chosen = [write_engine(settings.model_dir, 6912, name=name) for name in ("a", "b")][1]
        with pytest.raises(ModelDirectoryError, match="several TensorRT-LLM engines"):
            check_profile(settings, None)
        config = tmp_path / "repository" / "tensorrt_llm" / "config.pbtxt"
        config.parent.mkdir(parents=True)
        text = (PROJECT / "model_repo" / "tensorrt_llm" / "config.pbtxt").read_text()
        config.write_text(
            text.replace('value: { string_value: "" }', f'value: {{ string_value: "{chosen}" }}', 1)
        )
        check_profile(replace(settings, model_repository=config.parents[1]), None)


class TestCommand:
    @pytest.mark.parametrize("profile", ["cpu", "gpu-torch", "gpu-llmapi", "gpu-backend"])
    def test_triton_reads_the_profiles_configuration(
        self, settings: ServerSettings, profile
    ) -> None:
        line = command.server_command(
            replace(settings, profile=profile), BINARIES, None, LINKS, "x_"
        )
        assert f"--model-config-name={profile}" in line
        assert ("--allow-gpu-metrics=false" in line) == (profile == "cpu")

    @pytest.mark.parametrize("profile, device", [("cpu", "cpu"), ("gpu-torch", "cuda")])
    def test_the_device_follows_the_profile_unless_it_is_set(
        self, settings: ServerSettings, monkeypatch, profile, device
    ) -> None:
        monkeypatch.delenv("TRITONE_DEVICE", raising=False)
        chosen = replace(settings, profile=profile)
        assert command.server_environment(chosen, BINARIES, LINKS)["TRITONE_DEVICE"] == device
        monkeypatch.setenv("TRITONE_DEVICE", "cuda:1")
        assert command.server_environment(chosen, BINARIES, LINKS)["TRITONE_DEVICE"] == "cuda:1"


class TestEnginePath:
    @pytest.fixture
    def backend(self, settings: ServerSettings) -> ServerSettings:
        return replace(settings, profile="gpu-backend")

    def test_the_served_copy_names_the_engine(self, backend: ServerSettings) -> None:
        assert backend.model_dir is not None
        engine = write_engine(backend.model_dir, 6912)
        served = with_engine(backend).model_repository
        text = (served / "tensorrt_llm" / "configs" / "gpu-backend.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert Path(config.parameters["gpt_model_path"].string_value) == engine.resolve()
        source = {path.name for path in backend.model_repository.iterdir()}
        assert {path.name for path in served.iterdir()} == source
        for model in source - {"tensorrt_llm"}:
            assert (served / model).resolve() == (backend.model_repository / model).resolve()
        assert with_engine(backend).model_repository == served, "made once"
        assert [path.name for path in served.parent.iterdir()] == [served.name]

    def test_another_engine_gets_another_copy(self, backend: ServerSettings) -> None:
        assert backend.model_dir is not None
        engine = write_engine(backend.model_dir, 6912)
        before = with_engine(backend).model_repository
        engine.parent.rename(backend.model_dir / "engines" / "other")
        assert with_engine(backend).model_repository != before

    def test_the_served_copy_has_what_was_changed(self, backend: ServerSettings) -> None:
        """NVIDIA's backend does not read the variable that tells our models of it."""
        assert backend.model_dir is not None
        write_engine(backend.model_dir, 6912)
        changed = {"gpu_device_ids": "1", "kv_cache_free_gpu_mem_fraction": "0.2"}
        served = with_engine(replace(backend, parameters={"tensorrt_llm": changed}))
        path = served.model_repository / "tensorrt_llm" / "configs" / "gpu-backend.pbtxt"
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        assert {name: config.parameters[name].string_value for name in changed} == changed

    def test_an_engine_may_be_named(self, backend: ServerSettings) -> None:
        changed = {"tensorrt_llm": {"gpt_model_path": "/elsewhere"}}
        served = with_engine(replace(backend, parameters=changed)).model_repository
        text = (served / "tensorrt_llm" / "configs" / "gpu-backend.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert config.parameters["gpt_model_path"].string_value == "/elsewhere"

    def test_no_engine(self, backend: ServerSettings) -> None:
        with pytest.raises(ModelDirectoryError, match="no TensorRT-LLM engine"):
            with_engine(backend)

    def test_other_profiles_serve_the_repository_itself(self, settings: ServerSettings) -> None:
        assert with_engine(settings) is settings

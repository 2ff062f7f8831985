"""What each profile needs of the machine, found out without importing any of it."""

import importlib.metadata
import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.launcher.cached import cached
from tritone.launcher.settings import ServerSettings
from tritone.llm.trtllm.engine_folder import find_engine

DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # Linux, Windows Subsystem for Linux
TRTLLM_PROFILES = ("gpu", "gpu-llmapi")  # their language model's process imports tensorrt_llm
TRTLLM_BACKEND = Path("tensorrtllm/libtriton_tensorrtllm.so")  # NVIDIA's, in C++
_LLM = "tensorrt_llm"
_PARAMETER = re.compile(r'key: *"(\w+)"[^"]*string_value: *"([^"]*)"')
_PLACEHOLDER = '"/engine"'  # gpt_model_path of our repository: a container may mount it there


def check_profile(settings: ServerSettings, backends: Path | None) -> None:
    """Refuse a profile whose pieces are missing, by name.

    backends: the server's backends directory, None for its built-in default. Raises
    EnvironmentProblem, or ModelDirectoryError for a missing engine.
    """
    profile = settings.profile
    elsewhere = bool(language_model_parameters(settings).get("url"))
    if elsewhere and profile == "gpu-backend":
        raise EnvironmentProblem(
            "profile gpu-backend: NVIDIA's backend knows nothing of tensorrt_llm.url; where the "
            "language model is on another server, use --profile gpu-torch here"
        )
    if profile == "cpu":
        return
    if not any(file.exists() for file in DRIVER_FILES) and shutil.which("nvidia-smi") is None:
        raise EnvironmentProblem(
            f"profile {profile}: no NVIDIA driver ({DRIVER_FILES[0]} and nvidia-smi are missing). "
            "In a container pass --gpus all; without a GPU use --profile cpu"
        )
    if importlib.util.find_spec("torch") is None:  # the flow and the vocoder need it
        raise EnvironmentProblem(f"profile {profile}: the package torch is not installed")
    if torch_cuda() is None:
        version = importlib.metadata.version("torch")
        raise EnvironmentProblem(
            f"profile {profile}: torch {version} is built for the CPU alone; install a CUDA build "
            "(https://pytorch.org/get-started/locally), or use --profile cpu"
        )
    if not elsewhere:
        _check_language_model(settings, backends)


def _check_language_model(settings: ServerSettings, backends: Path | None) -> None:
    """The pieces of what runs it here, as `check_profile`."""
    profile = settings.profile
    if profile in TRTLLM_PROFILES:
        check_tensorrt_llm(profile)
    if profile == "gpu-backend" and backends and not (backends / TRTLLM_BACKEND).is_file():
        raise EnvironmentProblem(
            f"profile gpu-backend: {backends} has no {TRTLLM_BACKEND}: use a Triton container of "
            "NVIDIA with TensorRT-LLM (tag ...-trtllm-python-py3), or --profile gpu"
        )
    if profile == "gpu":
        named = language_model_parameters(settings).get("engine_dir", "")  # "": the choice is ours
        find_engine(settings.served_model, named)


def _parameter(name: str, value: str) -> str:
    """A line of a configuration; of several with one name the last one holds."""
    key, text = json.dumps(name), json.dumps(value)
    return f"parameters {{ key: {key} value: {{ string_value: {text} }} }}\n"


def language_model_parameters(settings: ServerSettings) -> dict[str, str]:
    """Those that the configuration of `tensorrt_llm` for the profile sets, or that were changed;
    of several with one name the last one holds."""
    folder = settings.model_repository / _LLM
    own = folder / "configs" / f"{settings.profile}.pbtxt"
    path = own if own.is_file() else folder / "config.pbtxt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {**dict(_PARAMETER.findall(text)), **settings.parameters.get(_LLM, {})}


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch is built for, such as "12.8".

    None without torch, and for a torch that is built for the CPU alone. torch is not imported.
    """
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    cuda = re.search(r"^cuda\b.*= *['\"]([\d.]+)", text, re.MULTILINE)
    return cuda[1] if cuda else None


def check_tensorrt_llm(profile: str) -> None:
    """Raise EnvironmentProblem unless the tensorrt_llm that the profile needs is installed."""
    try:
        version = importlib.metadata.version("tensorrt_llm")
    except importlib.metadata.PackageNotFoundError as error:
        raise EnvironmentProblem(
            f"profile {profile}: the package tensorrt_llm is not installed; use NVIDIA's "
            "container, or --profile gpu-torch"
        ) from error
    if profile == "gpu-llmapi" and version.startswith("0."):
        raise EnvironmentProblem(
            f"profile gpu-llmapi: tensorrt_llm {version} is installed and 1.0 or later is needed; "
            "use --profile gpu"
        )


def with_engine(settings: ServerSettings) -> ServerSettings:
    """Settings whose repository names the engine of the model directory, and has the language
    model's changed parameters, for profile gpu-backend; others as they are. Raises
    ModelDirectoryError when there is no engine, or more than one.

    Triton expands no variables, and NVIDIA's backend takes a missing path for an empty one and
    knows nothing of changed parameters. So the server gets a copy of the configuration with both in
    it, beside links to the rest.
    """
    if settings.profile != "gpu-backend":
        return settings
    repository = settings.model_repository.resolve()
    config = repository / _LLM / "configs" / f"{settings.profile}.pbtxt"
    text = config.read_text(encoding="utf-8")
    changed = settings.parameters.get(_LLM, {})
    if _PLACEHOLDER in text and "gpt_model_path" not in changed:
        engine = find_engine(settings.served_model).resolve()
        text = text.replace(_PLACEHOLDER, json.dumps(str(engine)))
    elif not changed:
        return settings  # somebody wrote a path of their own
    text += "".join(_parameter(*pair) for pair in changed.items())

    def fill(folder: Path) -> None:
        for model in repository.iterdir():
            if model.name != _LLM:
                (folder / model.name).symlink_to(model)
        (folder / _LLM / "configs").mkdir(parents=True)
        for version in (repository / _LLM).glob("[0-9]*"):
            (folder / _LLM / version.name).symlink_to(version)
        (folder / _LLM / "configs" / config.name).write_text(text, encoding="utf-8")

    models = sorted(path.name for path in repository.iterdir())
    contents = f"{repository}\n{models}\n{text}".encode()
    folders = settings.cache_dir.resolve() / "repositories"
    return replace(settings, model_repository=cached(folders, contents, fill))

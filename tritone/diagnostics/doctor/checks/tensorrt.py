"""TensorRT and TensorRT-LLM: versions that fit one another, and Triton's backends."""

from collections.abc import Iterator

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.mpi import installation as mpi
from tritone.diagnostics.doctor.checks.python import version_of
from tritone.diagnostics.doctor.target import Target
from tritone.engines import requirement
from tritone.errors import EnvironmentProblem
from tritone.launcher.binaries import find
from tritone.launcher.profiles import TRTLLM_BACKEND, check_tensorrt_llm
from tritone.llm.trtllm.environment import VERSION, is_supported

_TENSORRT = (requirement.PACKAGE, "tensorrt-cu12", "tensorrt-cu13")  # one import name
_TENSORRT_VERSION = ".".join(map(str, requirement.VERSION))
_TORCH_VERSION = "2.7"  # whose C++ interface TensorRT-LLM 0.20 is compiled for (its release notes)
_CONTAINER = "use NVIDIA's container: docker compose up gpu; or --profile gpu-torch"


@check("tensorrt.versions")
def versions(target: Target) -> Finding:
    """Installed versions by their metadata; those that do not go together are named."""
    if not target.on_gpu:
        return skipped("profile cpu uses neither TensorRT nor TensorRT-LLM")
    if mpi.needs_package(target):
        try:
            check_tensorrt_llm(target.profile)
        except EnvironmentProblem as error:
            return failure(str(error), _CONTAINER)
    found = {name: version_of(name) for name in (mpi.TRTLLM, "torch", *_TENSORRT)}
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    clashes = list(_clashes(target, found))
    if clashes:
        text = f"{text or 'nothing is installed'}: {'; '.join(clashes)}"
        if mpi.needs_package(target):
            return failure(text, _CONTAINER)
        leave = f"python -m pip install {requirement.REQUIREMENT}, or leave TensorRT out"
        return warning(text, leave)
    return passed(text or "nothing is installed, and the profile needs nothing")


def _clashes(target: Target, found: dict[str, str | None]) -> Iterator[str]:
    trtllm, torch = found[mpi.TRTLLM], found["torch"]
    tensorrt = {name: found[name] for name in _TENSORRT if found[name]}
    if len(set(tensorrt.values())) > 1:
        yield f"{' and '.join(tensorrt)} are one package in two versions"
    if target.profile == "gpu" and trtllm and not is_supported(trtllm):
        yield f"profile gpu needs {mpi.TRTLLM} {VERSION}"
    if target.profile == "gpu" and not tensorrt:
        yield f"{mpi.TRTLLM} {VERSION} needs TensorRT {_TENSORRT_VERSION}, which is not installed"
    for name, version in tensorrt.items():
        if target.profile != "gpu-llmapi" and not _is(version, _TENSORRT_VERSION):
            yield f"engines need TensorRT {_TENSORRT_VERSION}, not {name} {version}"
    if trtllm and is_supported(trtllm) and torch and not _is(torch, _TORCH_VERSION):
        yield f"{mpi.TRTLLM} {VERSION} is compiled for torch {_TORCH_VERSION}, not {torch}"


def _is(version: str | None, wanted: str) -> bool:
    return version is not None and version.split(".")[:2] == wanted.split(".")


@check("tensorrt.backends")
def backends(target: Target) -> Finding:
    """The backends of the Triton server that would be started."""
    try:
        folder = find(target.wheel_dir).backends or mpi.DEFAULT_BACKENDS
    except EnvironmentProblem as error:
        return failure(str(error), "make setup")
    there = sorted(path.parent.name for path in folder.glob("*/libtriton_*.so"))
    text = f"{folder}: {', '.join(there) or 'none'}"
    if "python" not in there:
        return failure(f"{text}; every model needs the backend python", "make setup")
    if target.profile == "gpu-backend" and not (folder / TRTLLM_BACKEND).is_file():
        fix = "use NVIDIA's container (tag ...-trtllm-python-py3), or --profile gpu"
        return failure(f"{text}; profile gpu-backend needs {TRTLLM_BACKEND}", fix)
    return passed(text)

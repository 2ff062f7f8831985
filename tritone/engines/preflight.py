"""What a build needs, looked at before any of its work."""

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from tritone.engines.machine import check_gpu, driver_version, import_tensorrt
from tritone.errors import EnvironmentProblem, ModelDirectoryError, TritoneError
from tritone.families.cosyvoice2 import FLOW_FILE, VOCODER_FILE
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.llm.trtllm.build import PROGRAM
from tritone.llm.trtllm.importing import installed_version
from tritone.llm.trtllm.requirement import WHY_THIS_VERSION, is_supported
from tritone.llm.trtllm.source_checkpoint import open_llm

LLM, FLOW, VOCODER = "llm", "flow", "vocoder"
PARTS = (LLM, FLOW, VOCODER)
GPU_FREE_BYTES = 6 << 30  # half a billion parameters with trtllm-build's workspace, or one plan's
_BFLOAT16_CAPABILITY = 8  # Ampere

# Exports and plans, in bytes of the weights they come from: three estimators and an encoder in
# float32, and all of it in half precision with what TensorRT adds.
_EXPORT_SHARE = {FLOW: 3.0, VOCODER: 1.2}
_PLAN_SHARE = {FLOW: 2.0, VOCODER: 1.5, LLM: 2.5}  # LLM: checkpoint and engine


def problems(
    model_dir: Path, parts: Collection[str], dtype: str, *, export_only: bool
) -> list[TritoneError]:
    """Everything that would stop the build; empty if nothing does."""
    checks: list[Callable[[], object]] = [
        lambda: _check_files(model_dir, parts),
        lambda: _check_disk(model_dir, parts, export_only),
    ]
    if not export_only:
        checks += [lambda: _check_gpu(dtype), driver_version, import_tensorrt]
    if LLM in parts:
        checks.append(lambda: _check_language_model(model_dir))
    found = []
    for check in checks:
        try:
            check()
        except TritoneError as error:
            found.append(error)
    return found


def _weights(model_dir: Path, parts: Collection[str]) -> dict[str, Path]:
    paths = {
        LLM: model_dir / LLM_DIR / WEIGHTS_NAME,
        FLOW: model_dir / FLOW_FILE,
        VOCODER: model_dir / VOCODER_FILE,
    }
    return {part: paths[part] for part in parts}


def _check_files(model_dir: Path, parts: Collection[str]) -> None:
    missing = [str(path) for path in _weights(model_dir, parts).values() if not path.is_file()]
    if missing:
        raise ModelDirectoryError(f"{', '.join(missing)}: missing; run scripts/convert.py again")
    if not os.access(model_dir, os.W_OK):
        raise EnvironmentProblem(f"{model_dir} cannot be written; engines are kept inside it")


def _check_disk(model_dir: Path, parts: Collection[str], export_only: bool) -> None:
    needed = 0.0
    for part, path in _weights(model_dir, parts).items():
        size = path.stat().st_size if path.is_file() else 0
        share = _EXPORT_SHARE.get(part, 0.0) + (0.0 if export_only else _PLAN_SHARE[part])
        needed += share * size
    free = shutil.disk_usage(model_dir).free
    if free < needed:
        raise EnvironmentProblem(
            f"{model_dir} has {free / 1e9:.1f} GB free; the build takes up to "
            f"{needed / 1e9:.1f} GB: make room"
        )


def _check_gpu(dtype: str) -> None:
    check_gpu()
    major, minor = torch.cuda.get_device_capability()
    if dtype == "bfloat16" and major < _BFLOAT16_CAPABILITY:
        raise EnvironmentProblem(
            f"--dtype bfloat16 needs compute capability {_BFLOAT16_CAPABILITY}.0 (Ampere); "
            f"{torch.cuda.get_device_name()} has {major}.{minor}: use --dtype float16"
        )
    free, total = torch.cuda.mem_get_info()
    if free < GPU_FREE_BYTES:
        raise EnvironmentProblem(
            f"{torch.cuda.get_device_name()} has {free / 2**30:.1f} of {total / 2**30:.1f} GiB "
            f"free; a build takes up to {GPU_FREE_BYTES / 2**30:.0f} GiB: stop what uses it"
        )


def _check_language_model(model_dir: Path) -> None:
    open_llm(model_dir)
    version = installed_version()
    if not is_supported(version):
        raise EnvironmentProblem(f"TensorRT-LLM {version} is installed; {WHY_THIS_VERSION}")
    if shutil.which(PROGRAM) is None:
        raise EnvironmentProblem(
            f"{PROGRAM} is not on PATH, though TensorRT-LLM {version} is installed: activate its "
            "environment"
        )

"""A build of engines: what it needs, looked at before any of its work, and all of its tasks."""

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch

from tritone.arrays import Int32
from tritone.compute import torch_device
from tritone.engines.export import export_task
from tritone.engines.llm_build import LanguageModelBuild
from tritone.engines.machine import Machine, driver_version, import_tensorrt
from tritone.engines.plans import PlanBuild
from tritone.engines.sources import LLM, Sources
from tritone.engines.tasks import Task
from tritone.errors import EnvironmentProblem, ModelDirectoryError, TritoneError
from tritone.llm.trtllm.build import PROGRAM
from tritone.llm.trtllm.environment import WHY_THIS_VERSION, installed_version, is_supported
from tritone.llm.trtllm.source_checkpoint import open_llm

DTYPES = ("bfloat16", "float16")
GPU_FREE_BYTES = 6 << 30  # half a billion parameters with trtllm-build's workspace, or one plan's
_BFLOAT16_CAPABILITY = 8  # Ampere

_PLAN_SHARE = 1.0  # of the bytes of its export: half precision, with what TensorRT adds
_LLM_SHARE = 2.5  # checkpoint and engine, of the bytes of the weights


def build_tasks(
    sources: Sources,
    parts: Sequence[str],
    dtype: str,
    machine: Machine | None,
    *,
    export_only: bool,
    example_prompt: Callable[[Int32], Int32],
) -> list[Task]:
    """Tasks in the order in which they run.

    parts: of `Sources.parts`. machine: None to describe the tasks only. example_prompt: what the
    family's front end makes of text ids, to try the language model's engine with.
    """
    tasks: list[Task] = []
    if LLM in parts:
        tasks += LanguageModelBuild(sources, machine, dtype, example_prompt).tasks()
    plans = PlanBuild(sources, machine, dtype)
    for part in (part for part in sources.parts if part in parts):
        outlines = sources.outlines(part)
        tasks += [export_task(sources, part, outline) for outline in outlines]
        if not export_only:
            tasks += [plans.task(part, outline) for outline in outlines]
    return tasks


def problems(
    sources: Sources, parts: Collection[str], dtype: str, *, export_only: bool
) -> list[TritoneError]:
    """Everything that would stop the build of `parts`; empty if nothing does."""
    checks: list[Callable[[], object]] = [
        lambda: _check_files(sources, parts),
        lambda: _check_disk(sources, parts, export_only),
    ]
    if not export_only:
        checks += [lambda: _check_gpu(dtype), driver_version, import_tensorrt]
    if LLM in parts:
        checks.append(lambda: _check_language_model(sources.model_dir))
    found = []
    for check in checks:
        try:
            check()
        except TritoneError as error:
            found.append(error)
    return found


def _check_files(sources: Sources, parts: Collection[str]) -> None:
    paths = [sources.weights(part) for part in parts]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ModelDirectoryError(f"{', '.join(missing)}: missing; run `tritone convert` again")
    if not os.access(sources.model_dir, os.W_OK):
        raise EnvironmentProblem(f"{sources.model_dir} cannot be written; engines are kept inside")


def _check_disk(sources: Sources, parts: Collection[str], export_only: bool) -> None:
    # each export has its own copy of its weights in float32
    modules = [outline.module for part in parts for outline in sources.outlines(part)]
    needed = float(sum(weight.nbytes for module in modules for weight in module.parameters()))
    if not export_only:
        needed *= 1 + _PLAN_SHARE
        weights = sources.weights(LLM)
        if LLM in parts and weights.is_file():
            needed += _LLM_SHARE * weights.stat().st_size
    free = shutil.disk_usage(sources.model_dir).free
    if free < needed:
        raise EnvironmentProblem(
            f"{sources.model_dir} has {free / 1e9:.1f} GB free; the build takes up to "
            f"{needed / 1e9:.1f} GB: make room"
        )


def _check_gpu(dtype: str) -> None:
    torch_device("cuda")
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

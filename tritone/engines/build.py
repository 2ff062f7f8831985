"""All tasks of a build: exports, plans, and the language model's engine."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tritone.arrays import Int32
from tritone.engines.exports import export_task
from tritone.engines.llm_build import LanguageModelBuild
from tritone.engines.machine import Machine
from tritone.engines.plans import PlanBuild
from tritone.engines.record import ENGINES_DIR, engine_folder
from tritone.engines.sources import LLM, Sources
from tritone.engines.tasks import Task

DTYPES = ("bfloat16", "float16")
UNKNOWN_MACHINE = "<machine>-{dtype}"


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
    folder = _folder(sources.model_dir, dtype, machine)
    tasks: list[Task] = []
    if LLM in parts:
        tasks += LanguageModelBuild(sources, folder, machine, dtype, example_prompt).tasks()
    plans = PlanBuild(sources, folder, machine, dtype)
    for part in (part for part in sources.parts if part in parts):
        outlines = sources.outlines(part)
        tasks += [export_task(sources, part, outline) for outline in outlines]
        if not export_only:
            tasks += [plans.task(part, outline) for outline in outlines]
    return tasks


def _folder(model_dir: Path, dtype: str, machine: Machine | None) -> Path:
    if machine is None:
        return model_dir / ENGINES_DIR / UNKNOWN_MACHINE.format(dtype=dtype)
    return engine_folder(model_dir, machine, dtype)

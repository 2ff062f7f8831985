"""Whether a model fits into the memory that is free, before anything of it is loaded."""

from collections.abc import Callable, Mapping
from typing import Any

from tritone.diagnostics.doctor.checks.machine.capacity import available_memory
from tritone.families.contract import Model
from tritone.loading.needs import check_room


def free_memory() -> int:
    """Bytes of main memory that can still be taken."""
    return available_memory()[0]


def check_memory(
    model: Model,
    profile: str,
    language_model: Mapping[str, Any],
    free: Callable[[], int] = free_memory,
) -> None:
    """Raises EnvironmentProblem where it does not fit, with what each part takes and what can be
    left out, and ModelDirectoryError for a file that is missing or cut short; parameters as for
    `Family.memory`."""
    if needs := model.family.memory(model.folder, profile, language_model):
        check_room(needs, free())

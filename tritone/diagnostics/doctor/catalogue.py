"""All checks, in the order in which they are shown."""

from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.checks import (
    gpu,
    indextts2,
    machine,
    model_dir,
    mpi,
    offline,
    ports,
    python,
    server,
    tensorrt,
)

CHECKS: tuple[Check, ...] = (
    *machine.CHECKS,
    *ports.CHECKS,
    *python.CHECKS,
    *gpu.CHECKS,
    *tensorrt.CHECKS,
    *mpi.CHECKS,
    *model_dir.CHECKS,
    *offline.CHECKS,
    *indextts2.CHECKS,
    *server.CHECKS,
)


def chosen(names: list[str]) -> list[Check]:
    """The checks of these names or groups, all of them for none; raises ValueError."""
    known = {check.name for check in CHECKS} | {check.group for check in CHECKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        groups = ", ".join(dict.fromkeys(check.group for check in CHECKS))
        raise ValueError(f"{unknown[0]!r} is no check; groups: {groups}; --list shows all")
    return [c for c in CHECKS if not names or c.name in names or c.group in names]

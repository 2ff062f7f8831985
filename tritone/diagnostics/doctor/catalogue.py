"""All checks, in the order in which they are shown."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from tritone.diagnostics.doctor import checks
from tritone.diagnostics.doctor.check import Check, checks_in

_MODULES = (
    *("machine.capacity", "machine.kernels", "machine.storage", "machine.paths"),
    *("machine.limits", "ports"),
    *("python", "gpu.device", "tensorrt"),
    *("mpi.installation", "mpi.libraries", "mpi.host", "mpi.imports"),
    *("model", "offline", "server"),
)
GENERAL = checks_in(*(import_module(f"{checks.__name__}.{name}") for name in _MODULES))
"""Those that hold for every family of models."""


def all_checks(families: Sequence[ModuleType], extra: Sequence[Check]) -> list[Check]:
    """The general ones, the CHECKS of the families' modules and the extra ones, a group's
    together."""
    every = [*GENERAL, *(check for family in families for check in family.CHECKS), *extra]
    groups = list(dict.fromkeys(check.group for check in every))
    return sorted(every, key=lambda check: groups.index(check.group))


def chosen(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """Those of these names or groups, all of them for none; raises ValueError."""
    known = {name for check in checks for name in (check.name, check.group)}
    unknown = [name for name in names if name not in known]
    if unknown:
        groups = ", ".join(dict.fromkeys(check.group for check in checks))
        raise ValueError(f"{unknown[0]!r} is no check; groups: {groups}; --list shows all")
    return [c for c in checks if not names or c.name in names or c.group in names]

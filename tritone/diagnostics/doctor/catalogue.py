"""All checks, in the order in which they are shown."""

from collections.abc import Sequence
from typing import Protocol

from tritone.diagnostics.doctor.check import Check, checks_in
from tritone.diagnostics.doctor.checks import (
    gpu,
    machine,
    model,
    mpi,
    offline,
    ports,
    python,
    server,
    tensorrt,
)

GENERAL: tuple[Check, ...] = (
    *machine.CHECKS,
    *checks_in(ports),
    *python.CHECKS,
    *gpu.CHECKS,
    *tensorrt.CHECKS,
    *mpi.CHECKS,
    *model.CHECKS,
    *checks_in(offline),
    *server.CHECKS,
)
"""Those that hold for every family of models."""


class Checks(Protocol):
    """A module with checks of a family."""

    CHECKS: tuple[Check, ...]


def all_checks(families: Sequence[Checks] = (), extra: Sequence[Check] = ()) -> list[Check]:
    """The general ones, those of the families and the extra ones, a group's together."""
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

"""The doctor's checks in this process, however slow the machine is."""

import pytest
from waiting import HANG_S

from tritone.diagnostics.doctor.checks import model, python, server
from tritone.diagnostics.doctor.checks.mpi import libraries


@pytest.fixture(autouse=True)
def limits_are_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of a limit sets it itself."""
    monkeypatch.setattr(libraries, "_LOAD_S", HANG_S)
    monkeypatch.setattr(model, "PROBE_S", HANG_S)
    monkeypatch.setattr(python, "IMPORT_S", HANG_S)
    monkeypatch.setattr(python, "_PIP_S", HANG_S)
    monkeypatch.setattr(server, "ANSWER_S", HANG_S)

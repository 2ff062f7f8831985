"""For what runs in a process of its own: its time is over when it hangs, and not by the clock.

How long a process needs until it hangs depends on the machine. So it leaves a mark when it gets
there, with HANG in Python or HANG_SH in a shell.
"""

import os
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
from waiting import wait_until

from tritone.diagnostics.doctor import isolated

_MARKS = "HANG_MARKS"
_STACKS = "most recent call first"  # so says faulthandler
HANG = (
    f"import os, time; open(os.environ['{_MARKS}'] + f'/{{os.getpid()}}', 'w').close(); "
    "time.sleep(1000)"
)
HANG_SH = f': > "${_MARKS}/$$"; : > "${_MARKS}/$PPID"; sleep 1000'
"""A shell's mark is for what it was started by too."""


class Process(subprocess.Popen):
    """One whose time is over when it has left a mark and sleeps, with all below it. Then its
    stacks are waited for, unless it ends."""

    def __init__(self, *args: Any, stderr: Any = None, **options: Any) -> None:
        self._late, self._error = False, stderr
        super().__init__(*args, stderr=stderr, **options)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            return super().wait()
        over = self._has_told if self._late else self._hangs
        wait_until(lambda: self.poll() is not None or over())
        if self.returncode is not None:
            return self.returncode
        self._late = True
        raise subprocess.TimeoutExpired(self.args, timeout)

    def _has_told(self) -> bool:
        return _STACKS in Path(self._error.name).read_text() and self._hangs()

    def _hangs(self) -> bool:
        if not Path(os.environ[_MARKS], str(self.pid)).exists():
            return False
        process = psutil.Process(self.pid)
        tree = [process, *process.children(recursive=True)]
        return all(one.status() == psutil.STATUS_SLEEPING for one in tree)


_SUBPROCESS = SimpleNamespace(**{**vars(subprocess), "Popen": Process})


def by_marks(monkeypatch: pytest.MonkeyPatch, folder: Path, module: ModuleType = isolated) -> None:
    """For what `module` starts; the marks go to `folder`, which is made."""
    folder.mkdir()
    monkeypatch.setenv(_MARKS, str(folder))
    monkeypatch.setattr(module, "subprocess", _SUBPROCESS)


def by_marks_too() -> None:
    """In a child of such a process."""
    isolated.subprocess = _SUBPROCESS

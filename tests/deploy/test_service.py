"""The unit of systemd: it is well-formed, and says of the command what is so. It is not run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import PROJECT
from waiting import HANG_S

from tritone.launcher.command import UNLOAD_TIMEOUT_S
from tritone.launcher.launch import _KILL_MARGIN_S

UNIT = PROJECT / "deploy" / "tritone.service"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is missing")


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    return value


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        [str(ANALYZE), *arguments], capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stderr


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name  # whose program is there
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/tritone/.venv/bin/tritone", "/bin/true"), encoding="utf-8")
    assert "tritone.service" not in analyze("verify", str(copy)), "no warning is about it"


@needs_systemd
def test_what_it_could_do_is_little(tmp_path: Path) -> None:
    """Out of 100, by systemd's own count; a service without sandboxing has 96."""
    analyze("security", "--offline=yes", "--threshold=20", str(UNIT))


def test_a_stop_has_the_time_that_the_command_may_take() -> None:
    (utterances,) = re.findall(r"--exit-timeout-secs (\d+)", setting("ExecStart"))
    assert int(utterances) + UNLOAD_TIMEOUT_S + _KILL_MARGIN_S < int(setting("TimeoutStopSec"))
    assert setting("KillMode") == "mixed", "else every model is told to end at once"


def test_exit_statuses_are_those_of_the_command() -> None:
    """0 is how it ends on SIGTERM, 2 that it could not start, and 3 that it does not speak as it
    should: see test_server_launch.py and test_damaged_server.py."""
    assert setting("RestartPreventExitStatus") == "2 3"
    assert setting("Restart") == "on-failure"


def test_its_command_line_is_understood() -> None:
    words = setting("ExecStart").split()
    options = [word for word in words if word.startswith("--")]
    shown = subprocess.run(
        [sys.executable, "-m", "tritone", "serve", "--help"],
        cwd=PROJECT,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    assert words[1] == "serve" and options and all(option in shown.stdout for option in options)

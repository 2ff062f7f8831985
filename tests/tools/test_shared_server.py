"""A test under which the shared server ends is run again, with fixtures that failed with it."""

import os
import subprocess
import sys
from pathlib import Path

from paths import PROJECT, SUPPORT

CONFTEST = """
from shared_server import Sharing

class Server:
    crashes = []

    def goes_on(self, test):
        self.crashes.append(test)
        return len(self.crashes) == 1

def pytest_configure(config):
    sharing = Sharing()
    sharing.server = Server()
    config.pluginmanager.register(sharing)
"""
TESTS = """
import pytest
asked = []

@pytest.fixture(scope="module")
def spoken():
    asked.append("once")
    if len(asked) == 1:
        raise OSError("the server is gone")
    return "sound"

def test_first(spoken):
    assert spoken == "sound"

def test_second(spoken):
    assert asked == ["once", "once"]
"""


def test_a_fixture_of_a_module_that_failed_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_twice.py").write_text(TESTS)
    found = os.pathsep.join(map(str, (SUPPORT, PROJECT, PROJECT / "client")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout and "test_first, which ran again" in done.stdout

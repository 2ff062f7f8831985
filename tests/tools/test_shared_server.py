"""A test under which the shared server ends is run again, with new fixtures for those that failed
with it and those that are made of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
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
FAILED = """
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
CONNECTED = """
import pytest
connected = []

@pytest.fixture(scope="session")
def server():
    return "the first, and the one after it"

@pytest.fixture(scope="session")
def client(server):
    connected.append(server)
    yield len(connected)
    if len(connected) == 1:
        raise OSError("the connection broke")

@pytest.fixture(scope="module")
def speaking(client):
    return client

def test_first(speaking):
    assert speaking == 2

def test_second(client):
    assert connected == ["the first, and the one after it"] * 2
"""


@pytest.mark.parametrize("tests", [FAILED, CONNECTED], ids=["failed", "connected"])
def test_fixtures_that_were_lost_with_it_are_made_again(tmp_path: Path, tests: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_twice.py").write_text(tests)
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

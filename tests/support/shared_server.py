"""The server that the tests share, which goes on where Triton itself crashes.

Triton 2.51 damages its own memory now and then (docs/reliability.md). Who runs `tritone serve` has
the server started again; here a test under which that happened is run once more, on a new one.
"""

import threading
from contextlib import suppress

import pytest
from _pytest.runner import runtestprotocol

from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.launch import StopRequested


class SharedServer(TritonServer):
    """crashes: the tests under which it crashed."""

    def __init__(self, settings: ServerSettings) -> None:
        self._over, self._crashed = threading.Event(), False
        super().__init__(settings, stopping=self._over)
        self.crashes: list[str] = []

    def wait_ready(self) -> float:
        seconds = super().wait_ready()
        self._crashed = False
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        return seconds

    def stop(self) -> None:
        self._over.set()
        if self._ready:
            self._looking.join()
        self._over.clear()
        super().stop()

    def goes_on(self, test: str) -> bool:
        """Whether it crashed under this test, after which there is a new one now."""
        if not self._crashed:
            return False
        self.crashes.append(test)
        self._ready = False  # there is nothing left to drain
        self.stop()
        self.start()
        self.wait_ready()
        return True

    def _look(self) -> None:
        with suppress(StopRequested):
            self._crashed = self.next_loss() is None


class Sharing:
    """A pytest plugin. server: once a test has asked for it."""

    server: SharedServer | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        where = {"nodeid": item.nodeid, "location": item.location}
        item.ihook.pytest_runtest_logstart(**where)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = any(report.failed for report in reports)
        if failed and self.server and self.server.goes_on(item.nodeid):
            item._initrequest()
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(**where)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in self.server.crashes if self.server else ():
            terminalreporter.write_line(f"Triton ended under {test}, which ran again", red=True)

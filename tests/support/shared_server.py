"""The server that the tests share, which goes on where Triton itself crashes.

Triton 2.51 damages its own memory now and then (docs/reliability.md). Who runs `tritone serve` has
the server started again; here a test under which that happened is run once more, on a new one.
"""

import os
import signal
import threading
from contextlib import suppress

import pytest
from _pytest.runner import runtestprotocol

from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.launch import StopRequested


class SharedServer(TritonServer):
    """crashes: what was lost of it, and under which test."""

    def __init__(self, settings: ServerSettings) -> None:
        self._over, self._lost = threading.Event(), ""
        super().__init__(settings, stopping=self._over)
        self.crashes: list[str] = []

    def wait_ready(self) -> float:
        seconds = super().wait_ready()
        self._lost = ""
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
        """Whether it, or a model of it, was lost under this test, after which there is a new one
        now."""
        if not self._lost:
            return False
        self.crashes.append(f"{self._lost}, under {test}")
        self._ready = False  # there is nothing left to drain
        self.stop()
        self.start()
        self.wait_ready()
        return True

    def _look(self) -> None:
        with suppress(StopRequested):
            loss = self.next_loss()
            self._lost = f"{loss.model}: {loss.reason}" if loss else "Triton ended"
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # who waits for an answer gets an error at once


def forget_fixtures(item: pytest.Item) -> None:
    """Those that failed with the server, as pytest keeps the error, and those that are made of it:
    a connection that has failed for some time waits as long before it tries again."""
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        for fixture in fixtures:
            failed = fixture.cached_result and fixture.cached_result[2]
            if failed or "server" in fixture.argnames:
                with suppress(Exception):  # what is left of a lost server need not end well
                    fixture.finish(item._request)


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
            forget_fixtures(item)
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(**where)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for test in self.server.crashes if self.server else ():
            terminalreporter.write_line(f"{test}, which ran again", red=True)

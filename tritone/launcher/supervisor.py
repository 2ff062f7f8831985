"""A server that goes on: what fails is started again, in place where that can be."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Event

from tritone.errors import EnvironmentProblem, StartCrashed
from tritone.launcher.launch import TritonServer
from tritone.launcher.model_watch import SERVER, Loss
from tritone.launcher.restart_limit import RestartLimit
from tritone.launcher.settings import ServerSettings

_LOG = logging.getLogger(__name__)


class End(Enum):
    """Why a server is no longer run."""

    ENDED = auto()  # by itself, on request: it is not started again
    FAILED = auto()
    GIVEN_UP = auto()


@dataclass
class Supervisor:
    """Runs servers with these settings, one after the other, until one ends on request.

    ready: called with each server once it is ready, and the seconds that took; it may speak with
    it. lost: called at once when a server or a model of it has failed, and mended when that model
    is there again. Interrupt it by an exception, which stops the server as a `with` block does, or
    from another thread by `stopping`: then `run` raises StopRequested.
    """

    settings: ServerSettings
    ready: Callable[[TritonServer, float], object]
    lost: Callable[[], object] = lambda: None
    mended: Callable[[], object] = lambda: None
    stopping: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._limit = RestartLimit(self.settings.restarts_per_hour)
        self._was_ready = False

    def run(self) -> End:
        """Raises EnvironmentProblem or ModelDirectoryError where the first server cannot start; one
        that crashes meanwhile is started once more, as Triton 2.51 may."""
        restarts = 0
        while True:
            try:
                end = self._run_once(restarts)
            except EnvironmentProblem as error:
                if not self._was_ready and (restarts or not isinstance(error, StartCrashed)):
                    raise
                _LOG.error("the server could not be started, and is once more: %s", error)
                end = End.FAILED
            if end is not End.FAILED:
                return end
            if not self._may_go_on(SERVER):
                return End.GIVEN_UP
            restarts += 1

    def _run_once(self, restarts: int) -> End:
        with TritonServer(self.settings, restarts, self.stopping) as server:
            seconds = server.wait_ready()
            self._was_ready = True
            self.ready(server, seconds)
            while loss := server.next_loss():
                _LOG.error("%s: %s", loss.model, loss.reason)
                self.lost()
                if not self._mend(server, loss):
                    server.kill()
                    return End.FAILED
                self.mended()
            self.lost()
            status = server.exit_status
            if not status:
                return End.ENDED
            _LOG.error(
                "the Triton server ended with status %d; last lines of %s:\n%s",
                status,
                self.settings.log_path,
                server.log_tail(),
            )
            return End.FAILED

    def _mend(self, server: TritonServer, loss: Loss) -> bool:
        """Have a lost model loaded anew; False where the whole server has to be started again.

        Without the public model's process nobody can answer its callers any more: only the end of
        the server ends their connections.
        """
        if loss.model == self.settings.public:
            return False
        if not self._may_go_on(loss.model):
            return False
        began = time.monotonic()
        if not server.replace(loss.model):
            _LOG.error("%s could not be loaded again: the server is started again", loss.model)
            return False
        _LOG.info("%s serves again after %.1f s", loss.model, time.monotonic() - began)
        return True

    def _may_go_on(self, what: str) -> bool:
        """Wait as long as it is due before a restart; False when there were too many."""
        pause = self._limit.pause(what)
        if pause is None:
            limit = self.settings.restarts_per_hour
            _LOG.error(
                "%s failed after %d restarts within an hour, the limit (--restarts-per-hour): "
                "giving up; the log is %s",
                what,
                limit,
                self.settings.log_path,
            )
            return False
        if pause:
            _LOG.info("the next start is in %g s", pause)
            self.stopping.wait(pause)
        return True

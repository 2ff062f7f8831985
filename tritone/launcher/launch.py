"""Starting a Triton server, knowing when it is ready, and ending it without remains."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Event

from tritone.errors import EnvironmentProblem, StartCrashed
from tritone.launcher import checks
from tritone.launcher.admin_key import AdminKey
from tritone.launcher.binaries import find, link_backends
from tritone.launcher.command import BECOME, UNLOAD_TIMEOUT_S, server_command, server_environment
from tritone.launcher.drain import ModelRepository
from tritone.launcher.grpc_probe import GrpcProbe
from tritone.launcher.health import LOOK_S
from tritone.launcher.inheritance import Inheritance
from tritone.launcher.links import Links, is_plain
from tritone.launcher.model_watch import SERVER, Loss, ModelWatch
from tritone.launcher.operator_key import inner_key_of
from tritone.launcher.profiles import check_profile, with_engine
from tritone.launcher.readable import readable
from tritone.launcher.readiness import is_open, is_ready
from tritone.launcher.server_log import LoadProgress, ServerLog
from tritone.launcher.settings import ServerSettings, ServerUrls
from tritone.launcher.shared_memory import RegionLease, acquire_regions, sweep_regions
from tritone.variables import INNER_KEY_VARIABLE, RESTARTS_VARIABLE

_LOG = logging.getLogger(__name__)

_PROBE_INTERVAL_S = 0.1
_CRASH_LOOKS = 4  # of LOOK_S, in which a server that crashes writes where, and ends
_KILL_MARGIN_S = 1.0  # on top of the time that the server gives itself


class StopRequested(Exception):
    """What waits for a server need not wait any more."""


class TritonServer:
    """A Triton server process and everything it starts. Use it as a context manager.

    Enter it from a thread that outlives the server: Linux ends the server when that thread ends.
    restarts: how many servers of this name ran before, for its metrics.
    stopping: where another thread sets it, `wait_ready` and `next_loss` raise StopRequested.
    """

    def __init__(
        self, settings: ServerSettings, restarts: int = 0, stopping: Event | None = None
    ) -> None:
        self.settings, self._restarts = settings, restarts
        self._stopping = stopping or Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_event = -1  # pidfd, readable once the process has ended
        self._ready = False
        self._repository = ModelRepository(self.urls.http, AdminKey(settings.admin_key_file))
        self._inheritance: Inheritance | None = None
        self._watch: ModelWatch | None = None
        self._probe: GrpcProbe | None = None
        self._looks_since_crash = 0
        self._log: ServerLog | None = None
        self._regions: RegionLease | None = None
        self._links = Links(Path())

    @cached_property
    def inner_key(self) -> str:
        """Of its inner models; empty where they are open. Raises EnvironmentProblem."""
        return inner_key_of(self.settings)

    @property
    def urls(self) -> ServerUrls:
        return self.settings.urls

    @property
    def pid(self) -> int:
        assert self._process is not None, "this server is not running"
        return self._process.pid

    def start(self) -> None:
        """Check the environment and start the process; returns before the models are loaded.

        Raises EnvironmentProblem or ModelDirectoryError with the next step to take.
        """
        assert self._process is None, "this server was started already"
        settings = self.settings
        binaries = find(settings.wheel_dir)
        checks.check_settings(settings)
        control, inner_key = self._repository.arguments(settings.models), self.inner_key
        check_profile(settings, binaries.backends)
        settings = with_engine(settings)
        checks.allow_open_files()
        checks.check_shared_memory()
        for prefix in sweep_regions():
            _LOG.info("removed the shared memory %s* of a server that is gone", prefix)
        self._regions = acquire_regions()
        self._links = Links(self._regions.links)
        backends = link_backends(binaries, self._links)
        environment = server_environment(settings, binaries, self._links)
        checks.check_interpreter(binaries, backends, environment)
        self._log = ServerLog(settings.log_path, settings.echo_log)
        prefix = self._regions.prefix
        command = server_command(settings, binaries, backends, self._links, prefix, control)
        for link, path in self._links.made.items():
            _LOG.info("the server's log calls %s %s", path, link)
        self._inheritance = Inheritance(self._regions.descriptor)
        environment |= self._inheritance.variables
        environment[RESTARTS_VARIABLE] = str(self._restarts)
        environment[INNER_KEY_VARIABLE] = inner_key
        self._spawn(command, environment, self._log, self._inheritance.descriptors)

    def _spawn(
        self,
        command: list[str],
        environment: dict[str, str],
        log: ServerLog,
        inherited: Sequence[int],
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BECOME, *command],
            env=environment,
            cwd=None if is_plain(Path.cwd()) else "/",  # models ask where they are, to log
            stdin=subprocess.DEVNULL,
            stdout=log.descriptor,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            start_new_session=True,
        )
        self._exit_event = os.pidfd_open(self._process.pid)
        if self._process.stdout is not None:
            log.copy_from(self._process.stdout)

    def wait_ready(self) -> float:
        """Return when every model is ready, with the seconds it took.

        Raises EnvironmentProblem, naming the models, when the process ends first or time is over.
        """
        assert self._log is not None and self._regions is not None, "this server was not started"
        started, limit_s = time.monotonic(), self.settings.start_timeout_s
        progress = LoadProgress(self._log, self.settings.served_model, self.settings.profile)
        while not is_open(self.urls):
            self._check_stop()
            if self._has_ended(_PROBE_INTERVAL_S):
                status = self.exit_status
                kind = StartCrashed if progress.crashed(status) else EnvironmentProblem
                raise kind(self._links.explained(progress.why_ended(status)))
            if time.monotonic() > started + limit_s:
                raise EnvironmentProblem(self._links.explained(progress.why_late(limit_s)))
            progress.tell()
            self._regions.close_to_others()
        self._regions.close_to_others()
        assert self._inheritance is not None
        self._watch = ModelWatch(self.pid, self._inheritance.beats, self.settings.health)
        if self.settings.tls is None:
            self._probe = GrpcProbe(self.urls.grpc)
        self._ready = True
        return time.monotonic() - started

    def next_loss(self) -> Loss | None:
        """Block until the process of a model has ended, or was ended as it no longer worked; None
        when the server itself has, or is about to: see `exit_status`."""
        assert self._watch is not None, "this server was never ready"
        while not (loss := self._watch.next_loss()):
            self._look_after()
        if loss.model != SERVER and self._goes_on():
            return loss
        while not self._has_ended(LOOK_S):
            self._look_after()
        return None

    def _goes_on(self) -> bool:
        """Whether it has lost a model and is not about to end, as a server that stops ends its
        models. Silence says neither: it may be busy, and is asked again."""
        while self._lives():
            with suppress(TimeoutError):
                return is_ready(self.urls)
        return False

    def _look_after(self) -> None:
        """What cannot go on is ended. Raises StopRequested."""
        self._check_stop()
        if why := self._stands_still():
            _LOG.error("the Triton server %s: it is ended", why)
            signal.pidfd_send_signal(self._exit_event, signal.SIGKILL)

    def _stands_still(self) -> str:
        """Why its process has to be ended; empty while it lives, and once that is done."""
        assert self._log is not None
        if self._log.tells_of_crash():
            self._looks_since_crash += 1
        if self._looks_since_crash == _CRASH_LOOKS:
            return "crashed and did not end"
        if self._probe and self._probe.deaf:
            self._probe.close()
            self._probe = None
            return "answers no gRPC streams any more"
        return ""

    def replace(self, model: str) -> bool:
        """Have a model loaded anew whose process has ended; whether that worked. It is given up
        where the server ends meanwhile, or is ended as it cannot go on. Raises StopRequested.

        Triton 2.51 loads it only if it has been unloaded; what waits for the dead process is then
        answered with an error.
        """
        if not self._repository.reload(model, self.settings.start_timeout_s, self._lives):
            return False
        assert self._watch is not None and self._regions is not None
        self._regions.close_to_others()
        self._watch.look_again()
        return True

    def _lives(self) -> bool:
        """Raises StopRequested."""
        self._look_after()
        return not self._has_ended(0)

    def kill(self) -> None:
        """End the server at once, with what it is speaking."""
        self._ready = False
        self.stop()

    @property
    def exit_status(self) -> int:
        """How the server ended: negative for a signal. It stays to be reaped by `stop`."""
        result = os.waitid(os.P_PIDFD, self._exit_event, os.WEXITED | os.WNOWAIT)
        assert result is not None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def stop(self) -> None:
        """End the server: utterances may finish within exit_timeout_s, new ones are refused.

        A server that `wait_ready` has not seen ready is killed at once: it serves nobody, and would
        load all its models first. Nothing that it started is left behind.
        """
        try:
            if self._ready:
                self._repository.drain(
                    self.settings.public,
                    self.urls.metrics,
                    self.settings.exit_timeout_s,
                    lambda: self._has_ended(_PROBE_INTERVAL_S),
                )
                signal.pidfd_send_signal(self._exit_event, signal.SIGTERM)
                self._has_ended(UNLOAD_TIMEOUT_S + _KILL_MARGIN_S)
        finally:
            self._clean_up()

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        assert self._log is not None, "this server was not started"
        return self._links.explained(self._log.tail())

    def _clean_up(self) -> None:
        """Kill what is left of the process group, then reap: until then its number stays ours."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for held in (self._probe, self._watch, self._inheritance):
            if held is not None:
                held.close()
        if self._exit_event >= 0:
            os.close(self._exit_event)
        self._probe = self._watch = self._inheritance = None
        self._looks_since_crash = 0
        self._exit_event, self._ready = -1, False
        if self._regions is not None:
            self._regions.release()
            self._regions = None
        if self._log is not None:
            self._log.close()

    def _has_ended(self, timeout_s: float | None) -> bool:
        """Wait for the end of the process, without reaping it."""
        assert self._process is not None, "this server is not running"
        return bool(readable([self._exit_event], timeout_s))

    def _check_stop(self) -> None:
        if self._stopping.is_set():
            raise StopRequested

    def __enter__(self) -> "TritonServer":
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

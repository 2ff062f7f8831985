"""Two servers, of which one serves while the other one is warm, in case the first one fails."""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tritone.launcher import checks
from tritone.launcher.forwarder import Addresses, Forwarder
from tritone.launcher.launch import StopRequested, TritonServer
from tritone.launcher.model_processes import memory, model_processes
from tritone.launcher.ports import free_ports
from tritone.launcher.settings import LOOPBACK, ServerSettings
from tritone.launcher.supervisor import End, Supervisor

_LOG = logging.getLogger(__name__)

MARGIN = 1.2
"""Of the memory that a warm server has: what has to be free for another one."""


@dataclass
class _Place:
    """Where one server after the other runs, each in the same thread."""

    settings: ServerSettings
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    was_ready: bool = False


class Standby:
    """Runs two servers with these settings behind their addresses, until one ends on request.

    prepare: speaks with a server that is ready; the seconds that it took. announce: called with the
    seconds of a start once somebody can be served. room: the bytes of memory that are free.
    """

    def __init__(
        self,
        settings: ServerSettings,
        prepare: Callable[[TritonServer], float],
        announce: Callable[[float], object],
        room: Callable[[], int],
    ) -> None:
        self._settings, self._prepare, self._announce = settings, prepare, announce
        self._room = room
        ports = free_ports(6)
        self._places = [
            _Place(_behind(settings, 1, *ports[:3])),
            _Place(_behind(settings, 2, *ports[3:])),
        ]
        self._forwarder = Forwarder(
            _addresses(settings), [_addresses(place.settings) for place in self._places]
        )
        self._lock = threading.Lock()  # of the two below
        self._healthy = set[int]()
        self._active: int | None = None
        self._events = queue.SimpleQueue[tuple[int, End | BaseException | None]]()

    def run(self) -> End:
        """Raises what a first server that cannot start raises; see `Supervisor.run`."""
        checks.check_settings(self._settings)
        checks.allow_open_files()  # two for each connection that is passed on
        with self._forwarder:
            try:
                self._start(0)
                return self._watch()
            finally:  # each lets its own utterances end
                for place in self._places:
                    place.stopping.set()
                for place in self._places:
                    if place.thread is not None:
                        place.thread.join()

    def _watch(self) -> End:
        """Until nobody is left."""
        running = {0}
        while True:
            number, end = self._events.get()
            if end is None:  # ready for the first time
                if number == 0 and self._fits():
                    running.add(1)
                    self._start(1)
                continue
            running.discard(number)
            if isinstance(end, BaseException) and not self._places[0].was_ready:
                raise end
            if end is End.ENDED:
                return End.ENDED
            reason = end if isinstance(end, BaseException) else "it failed too often"
            _LOG.error("a server is not started again: %s", reason)
            if not running:
                return End.GIVEN_UP

    def _start(self, number: int) -> None:
        place = self._places[number]
        supervisor = Supervisor(
            place.settings,
            ready=lambda server, seconds: self._on_ready(number, server, seconds),
            lost=lambda: self._on_lost(number),
            mended=lambda: self._on_healthy(number),
            stopping=place.stopping,
        )

        def run() -> None:
            try:
                self._events.put((number, supervisor.run()))
            except StopRequested:
                pass
            except BaseException as error:
                self._events.put((number, error))

        place.thread = threading.Thread(target=run, name=f"server {number + 1}")
        place.thread.start()

    def _fits(self) -> bool:
        """Whether another server as large as the first one has room."""
        free, needed = self._room(), MARGIN * self._first_bytes
        if free < needed:
            _LOG.warning(
                "no standby: %.0f MiB of memory are free, and another server needs %.0f",
                free / 2**20,
                needed / 2**20,
            )
        return free >= needed

    def _on_ready(self, number: int, server: TritonServer, seconds: float) -> None:
        seconds += self._prepare(server)
        place, served = self._places[number], bool(self._healthy)
        if number == 0 and not place.was_ready:
            self._first_bytes = _bytes_of(server)
        self._on_healthy(number)
        if served:
            _LOG.info("another server stands by after %.1f s", seconds)
        else:
            self._announce(seconds)
        if not place.was_ready:
            place.was_ready = True
            self._events.put((number, None))

    def _on_healthy(self, number: int) -> None:
        with self._lock:
            self._healthy.add(number)
            self._forwarder.keep(number)
            if self._active in self._healthy:
                return
            if self._active is not None:
                self._forwarder.leave(self._active)
            self._active = number
            self._forwarder.turn_to(number)

    def _on_lost(self, number: int) -> None:
        """Its connections, and all new ones, are the other one's at once, where that is well."""
        with self._lock:
            self._healthy.discard(number)
            if not self._healthy:
                return
            self._forwarder.leave(number)
            if number == self._active:
                (self._active,) = self._healthy
                self._forwarder.turn_to(self._active)
                _LOG.info("the server that stood by serves now")


def _behind(
    settings: ServerSettings, number: int, http: int, grpc: int, metrics: int
) -> ServerSettings:
    """Of a server that only the forwarder sees."""
    log = settings.log_path
    return replace(
        settings,
        address=LOOPBACK,
        http_address=None,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        log_file=log.with_name(f"{log.stem}-{number}{log.suffix}"),
    )


def _addresses(settings: ServerSettings) -> Addresses:
    return {
        service: (address, settings.ports[service])
        for service, address in settings.addresses.items()
    }


def _bytes_of(server: TritonServer) -> int:
    pids = [server.pid, *(pid for pids in model_processes(server.pid).values() for pid in pids)]
    return memory(*pids).pss_bytes or 0

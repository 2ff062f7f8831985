"""The live view: one screen that rich draws in place, and keys."""

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType

from rich.console import Console
from rich.live import Live

from tritone.diagnostics.monitor.observer import Snapshot
from tritone.diagnostics.monitor.view import screen

_KEY_TIMEOUT_S = 0.1


def available() -> bool:
    """Whether there is a terminal, for both input and output."""
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal and sys.stdin.isatty()


def show(snapshots: Iterator[Snapshot]) -> None:
    """Draw each snapshot, anew when the terminal's size changes; q ends it.

    After the last one the terminal is given back with that screen left on it.
    """
    background = Background(snapshots)
    background.start()
    console, drawn = Console(), None
    with Terminal(console) as terminal:
        while terminal.key(_KEY_TIMEOUT_S) not in ("q", "Q"):
            ended, wanted = not background.is_alive(), (background.newest(), console.size)
            if wanted[0] is not None and wanted != drawn:
                terminal.draw(wanted[0])
                drawn = wanted
            if ended:
                break
        else:
            return
    if drawn is not None and drawn[0] is not None:
        console.print(screen(drawn[0]))


class Background(threading.Thread):
    """Keeps the newest of some snapshots; a server that answers late does not hold up keys."""

    def __init__(self, snapshots: Iterator[Snapshot]) -> None:
        super().__init__(daemon=True)
        self._snapshots = snapshots
        self._newest: Snapshot | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            for snapshot in self._snapshots:
                self._newest = snapshot
        except Exception as error:
            self._error = error  # for `newest` to raise

    def newest(self) -> Snapshot | None:
        """None before the first; raises what went wrong in looking."""
        if self._error is not None:
            raise self._error
        return self._newest


class Terminal:
    """The terminal as a screen, given back on every way out; a stop by Ctrl-Z gives it back too."""

    def __init__(self, console: Console) -> None:
        self._input = sys.stdin.fileno()
        self._modes = termios.tcgetattr(self._input)
        self._live = Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._to_stop = False

    def draw(self, snapshot: Snapshot) -> None:
        self._live.update(screen(snapshot), refresh=True)

    def key(self, timeout_s: float) -> str:
        """The key that was pressed; "" if none was within that time."""
        if self._to_stop:
            self._to_stop = False
            self._leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._enter()
        if not select.select([self._input], [], [], timeout_s)[0]:
            return ""
        return os.read(self._input, 1).decode(errors="replace")

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Not at once: the signal may come in the middle of a drawing."""
        self._to_stop = True

    def _enter(self) -> None:
        tty.setcbreak(self._input)
        self._live.start(refresh=True)

    def _leave(self) -> None:
        self._live.stop()
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._modes)

    def __enter__(self) -> "Terminal":
        self._previous = signal.signal(signal.SIGTSTP, self._ask_to_stop)
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTSTP, self._previous)
        self._leave()

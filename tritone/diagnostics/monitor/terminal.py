"""The terminal as a screen that is drawn in place, and given back as it was."""

import os
import select
import signal
import sys
import termios
import tty
from types import FrameType, TracebackType

from tritone.diagnostics.monitor.text import clipped
from tritone.diagnostics.monitor.view import ALERT

# ECMA-48 and xterm's private modes: the alternate screen, and the cursor's visibility.
_ENTER = "\033[?1049h\033[?25l"
_LEAVE = "\033[?25h\033[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"
_BOLD, _RED, _USUAL = "\033[1m", "\033[31m", "\033[0m"


class Terminal:
    """Use it as a context manager around `draw` and `key`; a stop by Ctrl-Z gives it back too."""

    def __init__(self) -> None:
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._modes = termios.tcgetattr(self._input)

    @staticmethod
    def available() -> bool:
        """Whether there is one, for both input and output."""
        able = os.environ.get("TERM", "dumb") != "dumb"
        return able and sys.stdin.isatty() and sys.stdout.isatty()

    def draw(self, lines: list[str]) -> None:
        """Show as much as fits, the first line as a title; empty lines only where all fit."""
        size = self.size()
        if len(lines) > size.lines:
            lines = [line for line in lines if line]
        shown = [
            f"{_style(row, line)}{clipped(line, size.columns)}{_USUAL}{_REST_OF_LINE}"
            for row, line in enumerate(lines[: size.lines])
        ]
        self._write(_HOME + "\n".join(shown) + _REST_OF_SCREEN)

    def size(self) -> os.terminal_size:
        return os.get_terminal_size(self._output)

    def key(self, timeout_s: float) -> str:
        """The key that was pressed; "" if none was within that time."""
        if not select.select([self._input], [], [], timeout_s)[0]:
            return ""
        return os.read(self._input, 1).decode(errors="replace")

    def _enter(self) -> None:
        tty.setcbreak(self._input)
        self._write(_ENTER)

    def _leave(self) -> None:
        self._write(_LEAVE)
        termios.tcsetattr(self._input, termios.TCSADRAIN, self._modes)

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()

    def _write(self, text: str) -> None:
        """Past sys.stdout, whose buffer cannot be written while a signal interrupts a write."""
        rest = text.encode(errors="replace")
        while rest:
            rest = rest[os.write(self._output, rest) :]

    def __enter__(self) -> "Terminal":
        self._enter()
        self._previous = signal.signal(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTSTP, self._previous)
        self._leave()


def _style(row: int, line: str) -> str:
    return _BOLD if row == 0 else _RED if line.startswith(ALERT) else ""

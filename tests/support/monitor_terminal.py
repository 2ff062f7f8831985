"""The monitor on a terminal of its own, and all that it writes there."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from struct import pack

from paths import PROJECT
from waiting import HANG_S


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "tritone", "top", *options]


class Screen:
    """A terminal of its own with the monitor in it, and all that was written to it."""

    def __init__(self, lines: int, columns: int, *options: str) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(lines, columns)
        self.modes = termios.tcgetattr(self.ours)
        self.text, self.decode = "", getincrementaldecoder("utf-8")().decode
        # a parent that read lines has left the size of its own terminal
        inherited = {n: v for n, v in os.environ.items() if n not in ("LINES", "COLUMNS")}
        self.process = subprocess.Popen(
            command(*options),
            cwd=PROJECT,
            env=inherited | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def resize(self, lines: int, columns: int) -> None:
        ioctl(self.ours, termios.TIOCSWINSZ, pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """A match in what was not read yet."""
        seen, deadline = "", time.monotonic() + HANG_S
        while not (found := re.search(pattern, seen)):
            assert time.monotonic() < deadline, (pattern, self.text)
            if select.select([self.ours], [], [], 0.1)[0]:
                seen += self.decode(os.read(self.ours, 1 << 16))
        self.text += seen
        return found

    def wait_until_stopped(self) -> None:
        assert os.WIFSTOPPED(os.waitpid(self.process.pid, os.WUNTRACED)[1]), self.text


ENTER, LEAVE = r"\x1b\[\?1049h\x1b\[H\x1b\[\?25l", r"\x1b\[\?25h\x1b\[\?1049l"

OFTEN = ("--interval", "0.2")


@contextmanager
def terminal(lines: int, columns: int, *options: str) -> Iterator[Screen]:
    screen = Screen(lines, columns, *options)
    try:
        yield screen
        assert termios.tcgetattr(screen.ours) == screen.modes, "the terminal is as it was"
    finally:
        screen.process.kill()
        screen.process.wait()
        os.close(screen.ours)

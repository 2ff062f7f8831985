"""Debian's Chromium without a window, with a microphone that beeps."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import HANG_S, wait_until

BINARY = shutil.which("chromium")
OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",  # one that is free, which it writes to a file
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--mute-audio",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """The address at which it is driven, until the block ends; folder: for its profile."""
    assert BINARY is not None
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    words = [BINARY, *OPTIONS, *root, f"--user-data-dir={folder}", "about:blank"]
    said = folder / "DevToolsActivePort"
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(words, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(
                lambda: said.is_file() and said.read_text().count("\n"),
                lambda: (folder / "log").read_text(),
            )
            yield f"http://127.0.0.1:{said.read_text().splitlines()[0]}"
        finally:
            process.terminate()
            try:
                process.wait(timeout=HANG_S)
            finally:
                process.kill()

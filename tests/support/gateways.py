"""`tritone gateway` in tests: the process, and what it said."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paths import PROJECT
from waiting import HANG_S

from tritone.launcher.ports import free_ports


@dataclass(frozen=True)
class RunningGateway:
    """log: all that it wrote to stderr."""

    url: str
    log: Path
    process: subprocess.Popen[str]

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    @property
    def speech(self) -> str:
        return f"{self.api}/audio/speech"


@contextmanager
def gateway_before(folder: Path, *backends: str, more: tuple[str, ...] = ()) -> Iterator:
    """One in front of these servers, until the block ends; more: options."""
    port = free_ports()[0]
    words = [sys.executable, "-m", "tritone", "gateway", "--port", str(port), *more]
    words += [word for backend in backends for word in ("--backend", backend)]
    log = folder / f"gateway-{port}.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("OpenAI API: http"), log.read_text()
            yield RunningGateway(f"http://127.0.0.1:{port}", log, process)
            process.terminate()
            assert process.wait(timeout=HANG_S) == 0, log.read_text()
        finally:
            process.kill()

"""The server that is loaded: `tritone serve`, as its users start it."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from soak.watch import held
from tritone.launcher.ports import free_ports
from tritone.launcher.termination import termination_as_exit

UNLIMITED = ("cosyvoice2.max_first_audio_seconds=0", "cosyvoice2.playback_reserve=0")
_SETTLE_S = 20.0


@contextmanager
def launcher(
    model: Path, folder: Path, changed: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`tritone serve` with these settings; its gRPC address and the address of its metrics."""
    http, grpc, metrics = free_ports()
    command = [sys.executable, "-m", "tritone", "serve", "--model", str(model), "--no-golden"]
    command += ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    command += ["--cache-dir", str(folder), "--restarts-per-hour", "0", "--no-gateway"]
    for setting in changed:
        command += ["--set", setting]
    with (
        termination_as_exit(),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running,
    ):
        try:
            assert running.stdout is not None
            while not (line := running.stdout.readline()).startswith("say something"):
                if not line:
                    raise SystemExit("the server did not start")
            threading.Thread(target=running.stdout.read, daemon=True).start()
            yield running, f"127.0.0.1:{grpc}", f"http://127.0.0.1:{metrics}/metrics"
        finally:
            running.terminate()
            running.wait()


def settled(metrics: str) -> dict[str, float]:
    """What is held once all that was cancelled has ended."""
    until = time.monotonic() + _SETTLE_S
    while (left := held(metrics)) and time.monotonic() < until:
        time.sleep(0.2)
    return left

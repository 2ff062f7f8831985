"""`tritone offline --ray` as a process, and a small cluster that outlives its drivers."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
from paths import EMBEDDED
from waiting import HANG_S, wait_until

READY = re.compile(r"worker (\d+) is ready: process (\d+) on ")


def end_session(leader: int) -> None:
    """Kill all that belongs to a process that began a session; Ray's processes stay in it."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader:
                process.kill()


@contextmanager
def ray_folder() -> Iterator[dict[str, str]]:
    """Variables with which Ray's files go to a new folder, of a short name as its sockets need."""
    folder = tempfile.mkdtemp(prefix="ray")
    try:
        yield {**os.environ, "RAY_TMPDIR": folder, "OMP_NUM_THREADS": "1"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_cluster(variables: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a cluster with two cores, and the variables of its drivers."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    variables = {**variables, **token}
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--port=0",
    ]
    size = ["--num-cpus=2", "--object-store-memory=83886080", "--include-dashboard=false"]
    told = Path(variables["RAY_TMPDIR"]) / "ray" / "ray_current_cluster"
    log = Path(variables["RAY_TMPDIR"]) / "head.log"
    start = partial(_started, [*command, *size, "--disable-usage-stats"], variables, told, log)
    try:
        head = start()
    except AssertionError:  # Ray was seen to hang at its start, once
        head = start()
    try:
        yield told.read_text().strip(), variables
    finally:
        _ended(head)


def _started(
    command: list[str], variables: dict[str, str], told: Path, log: Path
) -> "subprocess.Popen[bytes]":
    """The head of a cluster that has told its address."""
    with log.open("ab") as out:
        head = subprocess.Popen(
            command, stdout=out, stderr=out, env=variables, start_new_session=True
        )
    try:
        wait_until(lambda: told.is_file() and told.read_text().strip(), log.read_text)
    except BaseException:
        _ended(head)
        raise
    return head


def _ended(head: "subprocess.Popen[bytes]") -> None:
    end_session(head.pid)
    head.wait()


class Run:
    """With the embedded voice; what it says is in `lines` as it comes."""

    def __init__(
        self, manifest: Path, out: str, address: str, variables: dict[str, str], *more: str
    ) -> None:
        paths = ["--model", str(EMBEDDED), "--manifest", str(manifest), "--out", out]
        options = ["--ray", address, "--cores-per-worker", "1", "--batch", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tritone", "offline", *paths, *options, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=variables,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    def pids(self) -> list[int]:
        """Of all workers that were ever ready, in order."""
        return [int(found[2]) for found in map(READY.search, self.lines) if found]

    def wait_for_waves(self, out: Path, count: int) -> None:
        """Until there are so many, and the driver has said whose they are."""
        wait_until(
            lambda: (len(list(out.glob("*.wav"))) >= count and self.pids()) or self._ended(),
            lambda: self.lines,
        )
        assert not self._ended(), self.lines

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> int:
        """The status; what the run has left behind ends."""
        status = self.process.wait(HANG_S)
        end_session(self.process.pid)
        self._reader.join(HANG_S)
        assert self.process.stdout
        self.process.stdout.close()
        return status

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        end_session(self.process.pid)
        self.end()

"""Damaged files, given to everything that reads files, in a process that may crash."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzzing.campaign import Target, Verdict
from fuzzing.damage import Damaged
from fuzzing.loaders import LOADERS, PROJECT, Loader
from tritone.errors import StageFailed

HANG_S = 60.0  # only what hangs takes so long


class Child:
    """The process, begun anew after a crash or a hang."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._warm: set[str] = set()

    def load(self, name: str, path: Path, good: Path) -> Verdict:
        """What a file comes to. good: one that a loader reads first, in every process."""
        if name not in self._warm:
            first = self._ask(name, good)
            if first.kind != "accepted":
                raise StageFailed("fuzzing", f"{name}: the good file comes to {first}")
            self._warm.add(name)
        return self._ask(name, path)

    def _ask(self, name: str, path: Path) -> Verdict:
        process = self._started()
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps([name, str(path)]).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], HANG_S)[0]:
            self.end()
            return Verdict("fault", f"hangs for {HANG_S:g} s")
        answer = process.stdout.readline()
        if answer:
            return Verdict(*json.loads(answer))
        status = process.wait()
        self.end()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Verdict("fault", f"the process ended: {how}")

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fuzzing.child"],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def end(self) -> None:
        process, self._process = self._process, None
        self._warm.clear()
        if process:
            assert process.stdin and process.stdout
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def _copy(loader: Loader, folder: Path, content: Damaged) -> Path:
    """A copy of the loader's folder by links, but for the file that is damaged."""
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / loader.file
    content.write(path)
    for place, _, files in os.walk(loader.base) if loader.base else ():
        for file in files:
            target = folder / Path(place, file).relative_to(loader.base or folder)
            if not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.endswith(".data"):  # a graph's data must not lie elsewhere
                    shutil.copy(Path(place, file), target)
                else:
                    target.symlink_to(Path(place, file))
    return path


SHARES = {f"file: {name}": loader.share for name, loader in LOADERS.items()}


@contextmanager
def file_targets(name: str, child: Child | None = None) -> Iterator[list[Target]]:
    """The target of one loader. child: where it runs; None for one of its own."""
    loader, runner = LOADERS[name], child or Child()
    content = loader.content()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        good = _copy(loader, folder / "good", Damaged(content))

        def tried(case: Damaged) -> Verdict:
            return runner.load(name, _copy(loader, folder / "damaged", case), good)

        try:
            yield [Target(f"file: {name}", loader.damages(content), tried)]
        finally:
            if child is None:
                runner.end()

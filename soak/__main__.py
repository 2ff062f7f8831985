"""Mixed load on a supervised server for some time.

    python -m soak --minutes 30        # make soak

Requests are whole, cancelled, bad, or bring a voice; in the first third processes of models are
killed. Exit status 1 for any fault: a sample that is not the known one, a stream that hangs or is
lost although nothing was killed, memory that grows, something still held at the end.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from tqdm import tqdm

from soak.report import Report, plot
from soak.requests import HANG_S, Asker, Result, pool
from soak.server import UNLIMITED, launcher, settled
from soak.watch import SERVER, Watch, processes
from tritone import resources
from tritone_client import SpeechClient, Utterance

EXACT = ("token2wav.dtype=fp32", "vocoder.dtype=fp32")
AFTERMATH_S = 10.0  # after the server is back from a kill, in which streams may be lost
BACK_S = 120.0  # that it may take, beside other work


class Soak:
    """The load, by so many clients at a time, until it is over."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.results: list[Result] = []
        self.unexplained: list[Result] = []
        self.kills = 0
        self._url, self._options = url, options
        self._until = self._explained_until = 0.0

    def run(self, launcher_pid: int) -> None:
        """Kills that launcher's processes."""
        every = pool()
        with SpeechClient(self._url) as client:
            expected = [client.speak(u, timeout=HANG_S) for u in tqdm(every, desc="quiet")]
        self._until = time.monotonic() + 60 * self._options.minutes
        askers = [
            threading.Thread(target=self._ask, args=(every, expected, self._options.seed + n))
            for n in range(self._options.clients)
        ]
        askers.append(threading.Thread(target=self._kill, args=(launcher_pid,)))
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()

    def _ask(self, every: list[Utterance], expected: list[NDArray[np.float32]], seed: int) -> None:
        while time.monotonic() < self._until:
            # a channel of its own now and then: connections come and go too
            with SpeechClient(self._url) as client:
                asker = Asker(client, every, expected, seed)
                for _ in itertools.takewhile(lambda _: time.monotonic() < self._until, range(20)):
                    result = asker.ask()
                    self.results.append(result)
                    if result.outcome == "lost":
                        if time.monotonic() > self._explained_until:
                            self.unexplained.append(result)
                        time.sleep(0.2)  # as a client that is told to retry
            seed += 1000

    def _kill(self, launcher_pid: int) -> None:
        """A process of a model now and then, in the first third."""
        draw, every_s = random.Random(self._options.seed), self._options.kill_every
        until = self._until - 2 / 3 * 60 * self._options.minutes
        while every_s and time.monotonic() + every_s < until:
            time.sleep(every_s)
            before = self._explained_until
            try:
                victims = {n: p for n, p in processes(launcher_pid).items() if n != SERVER}
                name = draw.choice(sorted(victims))
                self._explained_until = time.monotonic() + BACK_S
                victims[name].kill()
            except (psutil.Error, ValueError, IndexError):
                self._explained_until = before  # it is being replaced
                continue
            self.kills += 1
            self._wait_until_back(launcher_pid, name, victims[name].pid)

    def _wait_until_back(self, launcher_pid: int, name: str, lost: int) -> None:
        """Until there is another process, and the server says ready: it does so, too, for a moment
        after a process has died."""
        with SpeechClient(self._url) as client:
            while time.monotonic() < self._explained_until:
                with suppress(psutil.Error, ValueError, IndexError):
                    there = processes(launcher_pid)
                    if name in there and there[name].pid != lost and client.is_ready():
                        break
                time.sleep(0.5)
        self._explained_until = min(self._explained_until, time.monotonic()) + AFTERMATH_S


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--minutes", type=float, default=30.0, help="(%(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="at a time (%(default)s)")
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds; 0: nothing")
    parser.add_argument("--seed", type=int, default=1, help="of the mix (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="(%(default)s)")
    return parser


def main() -> int:
    options = build_parser().parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        launcher(options.model, Path(folder), (*EXACT, *UNLIMITED)) as (running, url, metrics),
    ):
        soak, watch = Soak(url, options), Watch(running.pid)
        soak.run(running.pid)
        watch.close()
        left = settled(metrics)
    report = Report(soak.results, watch.sights, soak.kills, soak.unexplained, left)
    print(report)
    (options.out / "report.md").write_text(f"{report}\n", encoding="utf-8")
    plot(report, options.out / "memory.png")
    for fault in report.faults[:20]:
        print(f"fault: {fault}", file=sys.stderr)
    print(f"{len(report.faults)} faults; {options.out}/report.md, {options.out}/memory.png")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

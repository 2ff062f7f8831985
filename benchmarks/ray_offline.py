"""A corpus with two Ray workers of a core each, against one worker of one core.

    python -m benchmarks.ray_offline

Each worker is held to a core of its own, whatever threads it has, so the machine's second core is
idle while one works. Both runs speak the same lines with the same seeds, in turn, `--rounds` times.
Seconds count from the first ready worker to the last utterance; a run that loses or doubles a line
is an error.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from tritone import resources
from tritone.llm.contract import SamplingParams
from tritone.local.offline.cluster import LOCAL
from tritone.local.offline.corpus import CorpusOrder, run_corpus
from tritone.local.offline.records import LOG_NAME
from tritone.local.offline.worker import Worker

TEXTS = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background. It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
)
LEAST = 1.7


class OneCore(Worker):
    """Ray counts cores, and lets every process use all of them."""

    def _load(self) -> None:
        core = _free_core(Path(self._job.out))
        for thread in os.listdir("/proc/self/task"):  # later ones inherit it
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), {core})
        super()._load()


def _free_core(folder: Path) -> int:
    """One that no other worker of the run has taken."""
    for core in sorted(os.sched_getaffinity(0)):
        with suppress(FileExistsError):
            (folder / f".core-{core}").touch(exist_ok=False)
            return core
    raise RuntimeError("there are more workers than cores")


def manifest(folder: Path, lines: int) -> Path:
    path = folder / "manifest.jsonl"
    texts = [TEXTS[number % len(TEXTS)] for number in range(lines)]
    rows = [json.dumps({"id": str(n), "text": t, "seed": n}) for n, t in enumerate(texts)]
    path.write_text("\n".join(rows))
    return path


def speed(options: argparse.Namespace, folder: Path, workers: int) -> float:
    """Seconds of speech a second."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        order = CorpusOrder(
            model=options.model,
            manifest=folder / "manifest.jsonl",
            out=out,
            profile="cpu",
            batch=options.batch,
            threads=1,
            precision="int8",
            preset="exact",
            sampling=SamplingParams(),
            address=LOCAL,
            workers=workers,
            cores=1,
            worker=OneCore,
        )
        totals = run_corpus(order, lambda _: None)
        logged = [json.loads(line)["id"] for line in (Path(out) / LOG_NAME).open()]
    if totals.spoken != options.lines or sorted(logged, key=int) != [
        str(number) for number in range(options.lines)
    ]:
        raise RuntimeError(f"of {options.lines} lines: {totals.summary()}; logged: {logged}")
    return totals.audio_s / totals.pipeline_s


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.ray_offline")
    parser.add_argument("--model", type=Path, default=resources.embedded_voice())
    parser.add_argument("--lines", type=int, default=160)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if (cores := len(os.sched_getaffinity(0))) < 2:
        parser.error(f"this machine has {cores} core; two workers need one each")
    with tempfile.TemporaryDirectory() as folder:
        manifest(Path(folder), options.lines)
        ratios = []
        for _ in range(options.rounds):
            one, two = (speed(options, Path(folder), workers) for workers in (1, 2))
            ratios.append(two / one)
            print(f"one worker {one:.2f}, two {two:.2f} s of speech a second: {two / one:.2f}")
    print(f"two workers are {median(ratios):.2f} times as fast as one")
    return 0 if median(ratios) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())

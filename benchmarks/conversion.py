"""How long `tritone convert` takes for a full-size release of random weights, and its memory.

    python -m benchmarks.conversion --family cosyvoice2 cosyvoice3 indextts2

The release is written to --out once (3.4 GB for CosyVoice3, 2.6 GB for CosyVoice2, 6.1 GB for
IndexTTS2), those of CosyVoice without the ONNX models of the front end, which a conversion copies
and tries. What is converted is deleted; with --keep the last one stays in --out.
Peak memory counts the files that are mapped. Prints a table and writes conversion.json to --out.
Exit status: 0 measured, 2 a conversion failed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.family_parts import PARTS
from benchmarks.figures import Figure, figure, table, write
from benchmarks.full_size import COSYVOICE2, FULL_SIZE, AnyConfig
from benchmarks.indextts2_release import write_release as write_indextts2
from benchmarks.release import TABLES, write_release
from tritone.checkpoints.licences import OPTION
from tritone.errors import EnvironmentProblem, TritoneError
from tritone.families import all_families
from tritone.families.indextts2 import FAMILY as INDEXTTS2
from tritone.families.indextts2.released_files import YAML


def release(folder: Path, size: AnyConfig, tables: Path = TABLES) -> Path:
    """The release of a CosyVoice in `folder`, written unless it is there."""
    return _written(folder, PARTS[size.family].yaml, write_release, folder, size, tables)


def _written(folder: Path, last: str, write: Callable[..., None], *arguments: object) -> Path:
    """last: the file that is written last."""
    if not (folder / last).is_file():
        # in a process of its own: a child's peak counts what its parent had when it began
        writer = get_context("spawn").Process(target=write, args=arguments)
        writer.start()
        writer.join()
        if writer.exitcode:
            raise EnvironmentProblem(f"{folder}: writing the release failed; see above")
    return folder


def convert(released: Path, target: Path) -> tuple[float, float]:
    """Seconds and the peak resident megabytes of one conversion."""
    command = [sys.executable, "-m", "tritone", "convert", str(released), str(target)]
    for family in all_families():
        if family.recognises(released):
            asked = [one.name for one in family.licences if one.accepted]
            command += [word for name in asked for word in (OPTION, name)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise EnvironmentProblem(
            f"{' '.join(command[1:])} ended with status {process.returncode}; see above"
        )
    return time.perf_counter() - begin, usage.ru_maxrss * 1024 / 1e6


def figures_of(released: Path, rounds: int, keep: Path | None = None) -> list[Figure]:
    """keep: where the last conversion stays; what is there is replaced. Every round begins with an
    empty folder, since a conversion leaves out the steps whose files are there."""
    runs = []
    for _ in range(rounds):
        with TemporaryDirectory(dir=released.parent) as folder:
            target = Path(folder) / "model"
            runs.append(convert(released, target))
            if keep is not None:
                shutil.rmtree(keep, ignore_errors=True)
                target.rename(keep)
    seconds, megabytes = zip(*runs, strict=True)
    return [
        figure(f"conversion, {released.name}", "s", seconds),
        figure("  peak memory", "MB", megabytes),
    ]


def main() -> int:
    families = [*FULL_SIZE, INDEXTTS2.name]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conversion", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--family", nargs="+", choices=families, default=[COSYVOICE2.family])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="what is converted")
    parser.add_argument("--out", type=Path, default=Path("bench"))
    args = parser.parse_args()
    figures: list[Figure] = []
    try:
        for family in args.family:
            folder = args.out / f"release-{family}"
            if family in FULL_SIZE:
                release(folder, FULL_SIZE[family])
            else:
                _written(folder, YAML, write_indextts2, folder)
            kept = args.out / f"full-size-{family}" if args.keep else None
            figures += figures_of(folder, args.rounds, kept)
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(figures))
    write(args.out / "conversion.json", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())

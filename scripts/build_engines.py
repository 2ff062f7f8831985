"""Build the engines of a model directory for this machine's GPU, and judge each of them.

    python scripts/build_engines.py models/cosyvoice2

TensorRT-LLM's engine of the language model, ONNX exports of the flow and the vocoder, and their
TensorRT plans. What is done already is not done again. `--dry-run` and `--export-only` need neither
a GPU nor TensorRT. Exit status: 0 all is there, 1 something failed or was refused by its gate,
2 the build could not start.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from tritone.engines.build import DTYPES, build_tasks
from tritone.engines.machine import this_machine
from tritone.engines.model_graphs import Sources
from tritone.engines.preflight import LLM, PARTS, problems
from tritone.engines.tasks import Outcome, Task, run_tasks, table
from tritone.errors import TritoneError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/build_engines.py",
        description="Build the engines of a model directory for this machine's GPU.",
    )
    parser.add_argument("model_dir", type=Path, help="as scripts/convert.py wrote it")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default=DTYPES[0],
        help=f"of matrix products, keys and values ({DTYPES[0]}; GPUs before Ampere: float16)",
    )
    parser.add_argument(
        "--parts",
        type=parts_of,
        default=PARTS,
        metavar="PART,..",
        help=f"what to build, of {','.join(PARTS)} (all)",
    )
    parser.add_argument(
        "--export-only", action="store_true", help="only the ONNX exports and their check"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show every command and profile, and do nothing"
    )
    parser.add_argument("--force", action="store_true", help="build what is there again")
    parser.add_argument("--verbose", action="store_true", help="TensorRT's own messages too")
    return parser


def parse() -> argparse.Namespace:
    """The arguments; of the language model there is nothing to export."""
    parser = build_parser()
    args = parser.parse_args()
    if args.export_only:
        args.parts = [part for part in args.parts if part != LLM]
        if not args.parts:
            parser.error("--export-only exports flow and vocoder; --parts names neither")
    return args


def parts_of(text: str) -> tuple[str, ...]:
    """A list of parts as the argument says it."""
    chosen = tuple(part.strip() for part in text.split(","))
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown part {unknown[0]!r}; parts are {', '.join(PARTS)}"
        )
    return chosen


def show(tasks: Sequence[Task], found: Sequence[TritoneError]) -> None:
    """What a dry run prints."""
    for task in tasks:
        print(f"{task.name}")
        for line in task.plan:
            print(f"    {line}")
    if found:
        print("\nHere the build would stop:")
        for problem in found:
            print(f"  - {problem}")


def build(tasks: Sequence[Task], force: bool) -> list[Outcome]:
    """Run the tasks under a bar; each is reported as it ends."""
    outcomes: list[Outcome] = []
    with tqdm(total=len(tasks), unit="step") as bar, logging_redirect_tqdm():
        for outcome in run_tasks(tasks, force=force):
            outcomes.append(outcome)
            bar.write(f"{outcome.name}: {outcome.state}, {outcome.said}")
            bar.update()
    return outcomes


def next_step(args: argparse.Namespace, failed: Sequence[Outcome]) -> str:
    if failed:
        names = ", ".join(outcome.name for outcome in failed)
        return f"Not built: {names}. What was built stays; run the same command again."
    if args.export_only:
        return f"Next, on the machine with the GPU: {command(args.model_dir)}"
    return f"Next: python scripts/serve.py --model {args.model_dir} --profile gpu"


def command(model_dir: Path) -> str:
    return f"python scripts/build_engines.py {model_dir}"


def main() -> int:
    args = parse()
    logging.basicConfig(
        format="%(levelname)s: %(message)s", level=logging.INFO if args.verbose else logging.ERROR
    )
    try:
        sources = Sources(args.model_dir)
        found = problems(args.model_dir, args.parts, args.dtype, export_only=args.export_only)
        if found and not args.dry_run:
            for problem in found:
                print(f"error: {problem}", file=sys.stderr)
            return 2
        machine = None if found or args.export_only else this_machine()
        tasks = build_tasks(sources, args.parts, args.dtype, machine, export_only=args.export_only)
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.dry_run:
        show(tasks, found)
        return 0
    outcomes = build(tasks, args.force)
    failed = [outcome for outcome in outcomes if outcome.state in ("failed", "skipped")]
    print("\n".join(["", *table(outcomes), next_step(args, failed)]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

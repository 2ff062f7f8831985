"""Everything that reads what others send, tried with hostile input: `make fuzz`.

Ends with a table, and with what was neither served nor refused with a clear error. The same seed
and number of cases try the same again.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fuzzing.campaign import Outcome, Target, attempt, shared
from fuzzing.files import SHARES as FILES
from fuzzing.files import file_targets
from fuzzing.loaders import LOADERS
from fuzzing.served import SHARES as SERVED
from fuzzing.served import differences, server_targets, state_of
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.resources import embedded_voice


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: what came of the cases of each target."""
    lines = [
        "| target | cases | refused | accepted | faults | seconds |",
        "|---|---|---|---|---|---|",
    ]
    total = Outcome("total")
    for outcome in [*outcomes, total]:
        name, numbers = outcome.name, (outcome.cases, outcome.refused, outcome.accepted)
        counts = " | ".join(map(str, (*numbers, outcome.faulty)))
        lines.append(f"| {name} | {counts} | {outcome.seconds:.1f} |")
        for key in ("cases", "refused", "accepted", "faulty", "seconds"):
            setattr(total, key, getattr(total, key) + getattr(outcome, key))
    return "\n".join(lines)


@contextmanager
def served(problems: list[str]) -> Iterator[list[Target]]:
    """Targets of a server of its own. problems: gets what is left behind."""
    http, grpc, metrics = free_ports()
    with tempfile.TemporaryDirectory() as place:
        settings = ServerSettings(
            model_dir=embedded_voice(),
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            cache_dir=Path(place),
        )
        with TritonServer(settings) as server:
            server.wait_ready()
            before = state_of(server)
            with server_targets(server) as targets:
                yield targets
            problems += differences(before, state_of(server))


def tried(cases: int, seed: int, only: str, problems: list[str]) -> Iterator[Outcome]:
    """What came of every target that has the word `only` in its name."""
    shares = {name: n for name, n in {**FILES, **SERVED}.items() if only in name}
    counts = shared(shares, cases)
    opened = [partial(file_targets, n) for n in LOADERS if f"file: {n}" in counts]
    if counts.keys() & SERVED.keys():
        opened.append(partial(served, problems))
    for open_one in opened:
        with open_one() as targets:
            for target in targets:
                if target.name in counts:
                    yield attempt(target, counts[target.name], seed)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzzing", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=20_000, help="altogether (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="in the name of a target")
    args = parser.parse_args()
    print(f"{args.cases} cases, seed {args.seed}", flush=True)
    problems: list[str] = []
    outcomes: list[Outcome] = []
    for outcome in tried(args.cases, args.seed, args.only, problems):
        outcomes.append(outcome)
        problems += [f"{outcome.name}: {fault}" for fault in outcome.faults.values()]
        print(f"{outcome.name}: {outcome.cases}, {outcome.faulty} faults", flush=True)
    print(table(outcomes))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

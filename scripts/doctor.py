"""Examine this machine, its Python, the model directory and a running server; say how to fix them.

    python scripts/doctor.py
    python scripts/doctor.py --model models/cosyvoice2 --profile gpu
    python scripts/doctor.py --only mpi model --verbose
    python scripts/doctor.py --indextts2 path/to/checkpoints

Exit status: 0 all is well, 1 there are warnings, 2 there are failures or the command line is wrong.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from tritone.cli import server_speech
from tritone.diagnostics.doctor.catalogue import all_checks, chosen
from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.child import load
from tritone.diagnostics.doctor.examine import Diagnosis, examine
from tritone.diagnostics.doctor.report import as_json, exit_status, table
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.settings import Profile

FAMILIES = Path(__file__).resolve().parents[1] / "tritone" / "families"


def known_checks() -> list[Check]:
    """Those of every family too; a family's package is not imported, as it may need torch."""
    files = sorted(FAMILIES.glob("*/doctor.py"))
    families = [load(f"tritone.families.{file.parent.name}.doctor", file) for file in files]
    return all_checks(families, server_speech.CHECKS)


def build_parser() -> argparse.ArgumentParser:
    defaults = Target()
    parser = argparse.ArgumentParser(
        prog="scripts/doctor.py", description=(__doc__ or "").split("\n")[0]
    )
    model = os.environ.get("TRITONE_MODEL") or defaults.model_dir
    what = parser.add_argument_group("what is examined")
    what.add_argument("--model", type=Path, default=model, help="model directory ($TRITONE_MODEL)")
    what.add_argument("--profile", choices=get_args(Profile), default="cpu")
    what.add_argument("--address", default=defaults.address)
    what.add_argument(
        "--port-base", type=int, default=8000, help="HTTP; gRPC is +1, metrics +2, as for serve.py"
    )
    what.add_argument(
        "--server",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="demand a running server, or leave it alone; else it is examined if it answers",
    )
    what.add_argument("--wheel-dir", type=Path, default=defaults.wheel_dir)
    what.add_argument("--cache-dir", type=Path, default=defaults.cache_dir)
    what.add_argument("--shm-dir", type=Path, default=defaults.shm_dir)
    what.add_argument("--indextts2", type=Path, metavar="DIR", help="IndexTTS2's released files")
    how = parser.add_argument_group("how")
    how.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="checks or groups")
    how.add_argument("--skip", nargs="+", default=[], metavar="CHECK", help="checks or groups")
    how.add_argument("--list", action="store_true", help="name the checks and run none")
    how.add_argument("--fix", action="store_true", help="repair what is safe to repair")
    how.add_argument("--slow", type=float, default=1.0, metavar="FACTOR", help="on time limits")
    how.add_argument("--json", action="store_true")
    how.add_argument("--verbose", action="store_true", help="stacks and seconds too")
    return parser


def target_from(options: argparse.Namespace) -> Target:
    return Target(
        model_dir=Path(options.model).absolute(),
        wheel_dir=options.wheel_dir.absolute(),
        cache_dir=options.cache_dir.absolute(),
        profile=options.profile,
        address=options.address,
        http_port=options.port_base,
        grpc_port=options.port_base + 1,
        metrics_port=options.port_base + 2,
        server=options.server,
        shm_dir=options.shm_dir.absolute(),
        releases={"indextts2": options.indextts2.absolute()} if options.indextts2 else {},
    )


def with_progress(checks: list[Check], options: argparse.Namespace) -> list[Diagnosis]:
    with tqdm(total=len(checks), unit="check", leave=False, disable=None) as progress:
        return examine(
            checks,
            target_from(options),
            fix=options.fix,
            slow=options.slow,
            on_done=lambda _: progress.update(),
        )


def main() -> int:
    parser = build_parser()
    options = parser.parse_args()
    if options.slow <= 0:
        parser.error(f"--slow: {options.slow:g}; it must be above 0")
    every = known_checks()
    try:
        left_out = chosen(every, options.skip) if options.skip else []
        checks = [check for check in chosen(every, options.only) if check not in left_out]
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(check.name for check in every))
        return 0
    diagnoses = with_progress(checks, options)
    if options.json:
        print(as_json(diagnoses))
    else:
        print(table(diagnoses, colour=sys.stdout.isatty(), verbose=options.verbose))
    return exit_status(diagnoses)


if __name__ == "__main__":
    sys.exit(main())

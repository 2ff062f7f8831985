"""tritone doctor: this machine, its Python, the model directory and a running server."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from tritone.cli.command import refused, run
from tritone.cli.options import (
    CACHE,
    MODELS,
    TRITON,
    Address,
    CacheDir,
    Model,
    PortBase,
    Runtime,
    WheelDir,
)
from tritone.diagnostics.doctor.catalogue import CHECKS, chosen
from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.examine import Diagnosis, examine
from tritone.diagnostics.doctor.report import as_json, exit_status, table
from tritone.diagnostics.doctor.target import Target
from tritone.resources import embedded_voice

Server = Annotated[
    bool | None,
    typer.Option(help="demand a running server, or leave it alone (examined if it answers)"),
]
SharedMemory = Annotated[Path, typer.Option(help="where shared memory lives")]
IndexTts2 = Annotated[Path | None, typer.Option(metavar="DIR", help="IndexTTS2's released files")]
Checks = Annotated[list[str] | None, typer.Option(metavar="CHECK ...", help="checks or groups")]
ListThem = Annotated[bool, typer.Option("--list", help="name the checks and run none")]
Fix = Annotated[bool, typer.Option("--fix", help="repair what is safe to repair")]
Slow = Annotated[float, typer.Option(metavar="FACTOR", help="on time limits")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]
Verbose = Annotated[bool, typer.Option("--verbose", help="stacks and seconds too")]


def doctor(
    model: Model = None,
    profile: Runtime = "cpu",
    address: Address = "127.0.0.1",
    port_base: PortBase = 8000,
    server: Server = None,
    wheel_dir: WheelDir = TRITON,
    cache_dir: CacheDir = CACHE,
    shm_dir: SharedMemory = Path("/dev/shm"),
    indextts2: IndexTts2 = None,
    only: Checks = None,
    skip: Checks = None,
    list_: ListThem = False,
    fix: Fix = False,
    slow: Slow = 1.0,
    json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Examine machine, Python, model and server; say how to fix them.

    Exit status: 0 all is well, 1 there are warnings, 2 there are failures or
    the command line is wrong.
    """
    if slow <= 0:
        return refused(f"--slow: {slow:g}; it must be above 0")
    try:
        left_out = chosen(skip) if skip else []
        checks = [check for check in chosen(only or []) if check not in left_out]
    except ValueError as error:
        return refused(error)
    if list_:
        print("\n".join(check.name for check in CHECKS))
        return 0
    target = Target(
        model_dir=(model or embedded_voice()).absolute(),
        model_repository=MODELS,
        wheel_dir=wheel_dir.absolute(),
        cache_dir=cache_dir.absolute(),
        profile=profile,
        address=address,
        http_port=port_base,
        grpc_port=port_base + 1,
        metrics_port=port_base + 2,
        server=server,
        shm_dir=shm_dir.absolute(),
        indextts2_dir=indextts2.absolute() if indextts2 else None,
    )
    diagnoses = with_progress(checks, target, fix=fix, slow=slow)
    colour = sys.stdout.isatty()
    print(as_json(diagnoses) if json else table(diagnoses, colour=colour, verbose=verbose))
    return exit_status(diagnoses)


def with_progress(
    checks: list[Check], target: Target, *, fix: bool, slow: float
) -> list[Diagnosis]:
    with tqdm(total=len(checks), unit="check", leave=False, disable=None) as bar:
        return examine(checks, target, fix=fix, slow=slow, on_done=lambda _: bar.update())


def main(arguments: Sequence[str], prog: str = "tritone doctor") -> int:
    return run(doctor, arguments, prog, several=("--only", "--skip"))

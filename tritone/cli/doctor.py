"""tritone doctor: this machine, its Python, the model directory and a running server."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from tritone.cli import options, server_speech
from tritone.cli.command import refused
from tritone.diagnostics.doctor.catalogue import all_checks, chosen
from tritone.diagnostics.doctor.check import Check, checks_in
from tritone.diagnostics.doctor.child import load
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.report import as_json, exit_status, table
from tritone.diagnostics.doctor.target import Target
from tritone.resources import embedded_voice, family_folders, voice_registry_dir

Checks = Annotated[list[str] | None, typer.Option(metavar="CHECK ...", help="checks or groups")]


@dataclass(frozen=True)
class Examined:
    """What is looked at."""

    model: options.Model = None
    voices: options.Voices = None
    profile: options.Runtime = "cpu"
    address: options.Address = "127.0.0.1"
    http_address: options.HttpAddress = None
    port_base: options.PortBase = 8000
    server: Annotated[
        bool | None,
        typer.Option(help="demand a running server, or leave it alone (examined if it answers)"),
    ] = None
    wheel_dir: options.WheelDir = options.TRITON
    cache_dir: options.CacheDir = options.CACHE
    shm_dir: Annotated[Path, typer.Option(help="where shared memory lives")] = Path("/dev/shm")
    ca: options.Ca = None
    cert: options.Cert = None
    key: options.Key = None
    release: Annotated[
        list[str] | None,
        typer.Option(
            "--release", metavar="FAMILY=DIR", help="released files, as upstream loads them"
        ),
    ] = None

    @property
    def target(self) -> Target:
        """Raises ValueError for a release that is no FAMILY=DIR."""
        files = {"ca": self.ca, "cert": self.cert, "key": self.key}
        return Target(
            model_dir=(self.model or embedded_voice()).absolute(),
            wheel_dir=self.wheel_dir.absolute(),
            cache_dir=self.cache_dir.absolute(),
            profile=self.profile,
            address=self.address,
            http_address=self.http_address,
            http_port=self.port_base,
            grpc_port=self.port_base + 1,
            metrics_port=self.port_base + 2,
            server=self.server,
            shm_dir=self.shm_dir.absolute(),
            voices_dir=(self.voices or voice_registry_dir()).absolute(),
            releases=dict(folder_of_release(text) for text in self.release or ()),
            tls={name: str(path.absolute()) for name, path in files.items() if path},
        )


def doctor(
    examined: Examined,
    only: Checks = None,
    skip: Checks = None,
    list_: Annotated[bool, typer.Option("--list", help="name the checks and run none")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="repair what is safe to repair")] = False,
    slow: Annotated[float, typer.Option(metavar="FACTOR", help="on time limits")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="stacks and seconds too")] = False,
) -> int:
    """Examine machine, Python, model and server; say how to fix them.

    Exit status: 0 all is well, 1 there are warnings, 2 there are failures or
    the command line is wrong.
    """
    if slow <= 0:
        return refused(f"--slow: {slow:g}; it must be above 0")
    known = known_checks()
    try:
        left_out = chosen(known, skip) if skip else []
        checks = [check for check in chosen(known, only or []) if check not in left_out]
        target = examined.target
    except ValueError as error:
        return refused(error)
    if list_:
        print("\n".join(check.name for check in known))
        return 0
    with tqdm(total=len(checks), unit="check", leave=False, disable=None) as bar:
        diagnoses = examine(checks, target, fix=fix, slow=slow, on_done=lambda _: bar.update())
    colour = sys.stdout.isatty()
    print(as_json(diagnoses) if json else table(diagnoses, colour=colour, verbose=verbose))
    return exit_status(diagnoses)


def known_checks() -> list[Check]:
    """Those of every family too; a family's package is not imported, as it may need what is broken
    here."""
    own, *_ = folders = family_folders()
    modules = [load("tritone.families.doctor", own / "doctor.py")]
    for file in (file for folder in folders for file in sorted(folder.glob("*/doctor.py"))):
        modules.append(load(f"tritone.families.{file.parent.name}.doctor", file))
    return all_checks(modules, checks_in(server_speech))


def folder_of_release(text: str) -> tuple[str, Path]:
    """Of FAMILY=DIR; raises ValueError for anything else."""
    family, given, folder = text.partition("=")
    if not (family and given and folder):
        raise ValueError(f"--release: {text!r} is not FAMILY=DIR")
    return family, Path(folder).absolute()

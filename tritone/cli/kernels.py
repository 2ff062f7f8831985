"""tritone kernels: what computes on a CPU in C, compiled for this machine."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tritone import resources
from tritone.cli import options
from tritone.cli.command import refused
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels.build import KERNELS, build_all, compiler


def kernels(
    cache_dir: options.CacheDir = options.CACHE,
    all_: Annotated[
        bool, typer.Option("--all", help="those for other processors too, as an image needs them")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="build none, tell what there is")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="say only what keeps them from being built, and succeed")
    ] = False,
) -> int:
    """Compile the kernels in C that this processor can run, into the cache, where
    a server that starts looks for them (or where TRITONE_KERNELS says). They
    compute attention, int8 layers and the language model in int8_rows on a CPU;
    without them the operators of torch and ONNX Runtime do.

    Exit status: 0 all of them are there, or this processor can run none; 1 some
    are not there; 2 the command line is wrong.
    """
    folder = resources.kernels_dir(cache_dir)
    problem = "" if check else _problem(folder, every=all_)
    if quiet:
        if problem:
            print(f"no kernels: {problem}")
        return 0
    missing = False
    for kernel in KERNELS:
        path, wanted = kernel.path_in(folder), all_ or kernel.runs_here
        missing |= wanted and not path.exists()
        lacking = "" if kernel.runs_here else f"; this processor lacks {kernel.lacking}"
        print(f"{kernel.title:22s}  {path if path.exists() else 'not built'}{lacking}")
    if problem:
        return refused(problem, 1)
    if missing:
        print("to build them: tritone kernels", file=sys.stderr)
    return int(missing)


def built(folder: Path | None = None) -> str:
    """Build them where there is a compiler; a line that says so, empty where there is none to
    build."""
    if compiler() is None or not any(kernel.runs_here for kernel in KERNELS):
        return ""
    folder = folder or resources.kernels_dir()
    if problem := _problem(folder, every=False):
        return f"no kernels: {problem}"
    names = ", ".join(kernel.title for kernel in KERNELS if kernel.runs_here)
    return f"ok  kernels for this processor ({names}) in {folder}"


def _problem(folder: Path, *, every: bool) -> str:
    """Build them; what keeps some from being built, nothing where this processor can run none."""
    if not every and not any(kernel.runs_here for kernel in KERNELS):
        return ""
    try:
        build_all(folder, every=every)
    except EnvironmentProblem as error:
        return str(error)
    return ""

"""The Python that serves: the interpreter, what is installed in it, what can be imported."""

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.child import import_module
from tritone.diagnostics.doctor.isolated import Outcome, call, run_isolated
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.binaries import choose_stub, find, find_libpython
from tritone.launcher.checks import check_interpreter
from tritone.launcher.command import server_environment
from tritone.launcher.links import Links
from tritone.resources import checkout

VERSIONS = ((3, 10), (3, 12))
"""Oldest and newest; requires-python of pyproject.toml."""

DISTRIBUTION = "tritone"
IMPORTS = {
    "numpy": "numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "sentencepiece": "sentencepiece",
    "safetensors": "safetensors",
    "pydantic": "pydantic",
    "soundfile": "soundfile",
    "wetext": "wetext",
    "kaldifst": "kaldifst",
    "markdown_it": "markdown-it-py",
    "defusedxml": "defusedxml",
    "hibari": "hibari-tts",
    "psutil": "psutil",
    "tritonclient.grpc": "tritonclient",
}
"""Module -> distribution, of what the models, their launcher and its warm-up import."""

IMPORT_S = 30.0
"""Torch from a cold disk takes some 10 s, while others import."""

_FRAMES = 4
_PIP_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_CLASH = re.compile(r"^(\S+) \S+ (?:has requirement|requires) ([A-Za-z0-9._-]+)")


@check("python.version")
def version(target: Target) -> Finding:
    here = sys.version_info[:2]
    name = f"Python {sys.version.split()[0]} ({sys.executable})"
    oldest, newest = (".".join(map(str, limit)) for limit in VERSIONS)
    if not VERSIONS[0] <= here <= VERSIONS[1]:
        make = f"make setup PYTHON=python{newest}  # after: rm -rf .venv"
        return failure(f"{name}; {oldest} to {newest} is needed", make)
    if sys.prefix == sys.base_prefix:
        text = f"{name} is no virtual environment: what else is installed there may clash"
        return warning(text, "make setup  # makes .venv; then run .venv/bin/tritone doctor")
    return passed(f"{name}; {oldest} to {newest} will do")


@check("python.triton")
def triton(target: Target) -> Finding:
    """The server's binaries, and a Python backend for this very Python."""
    binaries = find(target.wheel_dir)
    stub = choose_stub(binaries) if binaries.stubs else None
    server = binaries.executable
    kind = "of the wheel" if binaries.from_wheel else "on PATH"
    backend = f", Python backend {stub.parent.name}" if stub else ""
    return passed(f"tritonserver {kind}: {server}{backend}")


@check("python.libpython")
def libpython(target: Target) -> Finding:
    """The shared library that the wheel's backend stub loads; an installed server brings one."""
    if not find(target.wheel_dir).from_wheel:
        return skipped("an installed Triton server brings its own libpython")
    return passed(str(find_libpython()))


@check("python.interpreter", limit_s=35.0)
def interpreter(target: Target) -> Finding:
    """The package and numpy, as Triton's backend stub will see them: isolated, from PATH."""
    binaries = find(target.wheel_dir)
    shared = target.shm_dir if target.shm_dir.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="tritone-doctor-", dir=shared) as folder:
        environment = server_environment(target.settings(), binaries, Links(Path(folder)))
        # of the wheel's stubs one was chosen already
        check_interpreter(binaries, None if binaries.stubs else binaries.backends, environment)
        found = shutil.which("python3", path=environment["PATH"])
    versions = f"tritone {version_of(DISTRIBUTION)}, numpy {version_of('numpy')}"
    return passed(f"{found}, isolated: {versions}")


@check("python.path")
def path(target: Target) -> Finding:
    """Variables that Triton's interpreter ignores, and the commands do not."""
    home, listed = os.environ.get("PYTHONHOME"), os.environ.get("PYTHONPATH", "")
    if home:
        text = "the commands take their libraries from there and the server from"
        return warning(f"PYTHONHOME={home}: {text} {sys.prefix}", "unset PYTHONHOME")
    folders = [Path(name or ".") for name in listed.split(os.pathsep)] if listed else []
    shadows = [str(place) for folder in folders for place in _modules_in(folder)]
    if shadows:
        text = f"PYTHONPATH puts {', '.join(shadows)} before what is installed, for commands alone"
        return warning(text, "unset PYTHONPATH")
    return passed(f"PYTHONPATH {listed or 'not set'}: no module of a server is put before others")


def _modules_in(folder: Path) -> Iterator[Path]:
    """What a folder has under the name of a module that a server imports."""
    names = [] if folder.resolve() == checkout() else [DISTRIBUTION, "tritone_client"]
    for name in [*names, *IMPORTS]:
        places = (folder / name / "__init__.py", folder / f"{name}.py")
        yield from (place for place in places if place.is_file())


@check("python.requirements", limit_s=_PIP_S + 5)
def requirements(target: Target) -> Finding:
    """Versions that clash, among what is installed and what this package requires of it."""
    command = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    outcome = run_isolated(command, _PIP_S)
    if outcome.late:
        return warning(f"`pip check` did not end within {_PIP_S:g} s", " ".join(command))
    if "No module named pip" in outcome.error:
        return skipped("this environment has no pip; with uv: uv pip check")
    ours, others = clashes(outcome.output.splitlines(), distributions_needed())
    if outcome.status != 0 and not ours + others:
        return warning(f"`pip check` says: {outcome.last_line}", " ".join(command))
    beside = f" ({len(others)} among packages that a server does not use)" if others else ""
    if ours:
        install = f"{sys.executable} -m pip install -c constraints.txt -e ."
        return failure(f"{'; '.join(ours)}{beside}", install)
    return passed(f"what tritone {version_of(DISTRIBUTION)} requires is there, no clash{beside}")


def clashes(lines: list[str], needed: set[str]) -> tuple[list[str], list[str]]:
    """Complaints of `pip check`: about distributions that are needed, and about others."""
    found = [(line.rstrip("."), match[1]) for line in lines if (match := _CLASH.match(line))]
    ours = [line for line, name in found if _plain(name) in needed]
    return ours, [line for line, name in found if _plain(name) not in needed]


def distributions_needed() -> set[str]:
    """This package and all that it requires, directly or not, without extras."""
    needed, waiting = set[str](), [DISTRIBUTION]
    while waiting:
        name = _plain(waiting.pop())
        if name not in needed:
            needed.add(name)
            with suppress(importlib.metadata.PackageNotFoundError):  # `pip check` says so
                lines = importlib.metadata.requires(name) or []
                waiting += [_NAME.findall(line)[0] for line in lines if "extra ==" not in line]
    return needed


def _plain(name: str) -> str:
    """As the packaging specification compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_of(distribution: str) -> str | None:
    """By its metadata; None where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@check("python.imports", limit_s=IMPORT_S + 8)
def imports(target: Target) -> Finding:
    """Each module in a process of its own, all at once; one that hangs is named with its place."""
    with ThreadPoolExecutor(len(IMPORTS)) as pool:
        outcomes = dict(zip(IMPORTS, pool.map(import_alone, IMPORTS), strict=True))
    broken = {name: outcome for name, outcome in outcomes.items() if outcome.status != 0}
    if not broken:
        slowest = max(outcomes, key=lambda name: outcomes[name].seconds)
        seconds = outcomes[slowest].seconds
        return passed(f"{', '.join(outcomes)} import; slowest: {slowest}, {seconds:.1f} s")
    text = "; ".join(f"{name} {how_it_failed(outcome)}" for name, outcome in broken.items())
    first = next(iter(broken))
    if broken[first].late:
        trace = f"{sys.executable} -X importtime -c 'import {first}'"
        return failure(text, f"{trace}  # interrupt it: the last line came before")
    install = "-m pip install --force-reinstall --no-deps -c constraints.txt"
    return failure(text, f"{sys.executable} {install} {IMPORTS[first]}")


def import_alone(module: str) -> Outcome:
    return call(import_module, module, limit_s=IMPORT_S)


def how_it_failed(outcome: Outcome) -> str:
    """Of an import: where it hung, how it crashed, or what it said."""
    if outcome.late:
        place = " < ".join(outcome.frames[:_FRAMES]) or outcome.waiting or "native code"
        return f"did not import within {outcome.seconds:.0f} s; it was in {place}"
    if outcome.status is not None and outcome.status < 0:
        what = "an instruction that this processor lacks" if outcome.status == -4 else "a crash"
        return f"ended with signal {-outcome.status} on import, {what}"
    return f"does not import: {outcome.last_line}"

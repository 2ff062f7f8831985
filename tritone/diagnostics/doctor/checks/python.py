"""The Python that serves: its version and libraries, as Triton would start it."""

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tritone.diagnostics.doctor.check import Check, Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.launcher import refused, settings_of
from tritone.diagnostics.doctor.isolated import STACKS_ON_SIGNAL, Outcome, run_isolated
from tritone.diagnostics.doctor.target import PROJECT, Target
from tritone.errors import EnvironmentProblem
from tritone.launcher.binaries import Binaries, choose_stub, find, find_libpython
from tritone.launcher.checks import check_interpreter
from tritone.launcher.command import server_environment

VERSIONS = ((3, 10), (3, 12))
"""Oldest and newest; requires-python of pyproject.toml."""

IMPORTS = {
    "numpy": "numpy",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "pydantic": "pydantic",
    "soundfile": "soundfile",
    "wetext": "wetext",
    "hibari": "hibari-tts",
}
"""Module -> distribution, of what the models import; a client needs tritonclient besides."""

IMPORT_S = 30.0
"""Torch from a cold disk takes some 10 s, while others import."""

_FRAMES = 4
_PIP_S = 30.0
_DISTRIBUTION = "tritone"
_SETUP = "make setup"
_CLASH = re.compile(r"^(\S+) \S+ (?:has requirement|requires) ([A-Za-z0-9._-]+)")


def version(target: Target) -> Finding:
    here = sys.version_info[:2]
    name = f"Python {sys.version.split()[0]} ({sys.executable})"
    oldest, newest = (".".join(map(str, limit)) for limit in VERSIONS)
    if not VERSIONS[0] <= here <= VERSIONS[1]:
        return failure(
            f"{name}; {oldest} to {newest} is needed",
            f"make setup PYTHON=python{newest}  # after: rm -rf .venv",
        )
    if sys.prefix == sys.base_prefix:
        return warning(
            f"{name} is no virtual environment: what else is installed there may clash",
            f"{_SETUP}  # makes .venv; then run .venv/bin/python scripts/doctor.py",
        )
    return passed(f"{name}; {oldest} to {newest} will do")


def triton(target: Target) -> Finding:
    """The server's binaries, and a Python backend for this very Python."""
    try:
        binaries = find(target.wheel_dir)
        stub = choose_stub(binaries) if binaries.stubs else None
    except EnvironmentProblem as error:
        return refused(error)
    if not os.access(binaries.executable, os.X_OK):
        return failure(
            f"{binaries.executable} cannot be executed", f"chmod +x {binaries.executable}"
        )
    kind = "of the wheel" if binaries.from_wheel else "on PATH"
    backend = f", Python backend {stub.parent.name}" if stub else ""
    return passed(f"tritonserver {kind}: {binaries.executable}{backend}")


def libpython(target: Target) -> Finding:
    """The shared library that the wheel's backend stub loads; an installed server brings one."""
    try:
        if not find(target.wheel_dir).from_wheel:
            return skipped("an installed Triton server brings its own libpython")
        return passed(str(find_libpython()))
    except EnvironmentProblem as error:
        return refused(error)


def interpreter(target: Target) -> Finding:
    """The package and numpy, as Triton's backend stub will see them: isolated, from PATH."""
    try:
        binaries = find(target.wheel_dir)
        environment = server_environment(settings_of(target), binaries)
        check_interpreter(binaries, _backends(binaries), environment)
    except EnvironmentProblem as error:
        return refused(error)
    found = shutil.which("python3", path=environment["PATH"])
    return passed(
        f"{found}, isolated: tritone {_version(_DISTRIBUTION)}, numpy {_version('numpy')}"
    )


def path(target: Target) -> Finding:
    """Variables that Triton's interpreter ignores, and the scripts do not."""
    home, listed = os.environ.get("PYTHONHOME"), os.environ.get("PYTHONPATH", "")
    if home:
        return warning(
            f"PYTHONHOME={home}: the scripts take their libraries from there and the server from "
            f"{sys.prefix}",
            "unset PYTHONHOME",
        )
    folders = [Path(name or ".") for name in listed.split(os.pathsep)] if listed else []
    shadows = [str(place) for folder in folders for place in _modules_in(folder)]
    if shadows:
        return warning(
            f"PYTHONPATH puts {', '.join(shadows)} before what is installed, for the scripts alone",
            "unset PYTHONPATH",
        )
    return passed(f"PYTHONPATH {listed or 'not set'}: no module of a server is put before others")


def _modules_in(folder: Path) -> Iterator[Path]:
    """What a folder has under the name of a module that a server imports."""
    names = [] if folder.resolve() == PROJECT else [_DISTRIBUTION, "client"]
    for name in [*names, *IMPORTS]:
        places = (folder / name / "__init__.py", folder / f"{name}.py")
        yield from (place for place in places if place.is_file())


def _backends(binaries: Binaries) -> Path | None:
    """Where an installed server has its stub; the wheel's is chosen among several."""
    return None if binaries.stubs else binaries.backends


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
        return failure(
            f"{'; '.join(ours)}{beside}", f"{sys.executable} -m pip install -c constraints.txt -e ."
        )
    return passed(f"what tritone {_version(_DISTRIBUTION)} requires is there, no clash{beside}")


def clashes(lines: list[str], needed: set[str]) -> tuple[list[str], list[str]]:
    """Complaints of `pip check`: about distributions that are needed, and about others."""
    found = [(line.rstrip("."), match[1]) for line in lines if (match := _CLASH.match(line))]
    ours = [line for line, name in found if _plain(name) in needed]
    return ours, [line for line, name in found if _plain(name) not in needed]


def distributions_needed() -> set[str]:
    """This package and all that it requires, directly or not, without extras."""
    needed, waiting = set[str](), [_DISTRIBUTION]
    while waiting:
        name = _plain(waiting.pop())
        if name not in needed:
            needed.add(name)
            waiting += _required_by(name)
    return needed


def _required_by(name: str) -> Iterator[str]:
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:  # `pip check` says so
        return
    for line in lines:
        named = re.match(r"[A-Za-z0-9._-]+", line)
        if named and "extra ==" not in line:
            yield named[0]


def _plain(name: str) -> str:
    """As the packaging specification compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def imports(target: Target) -> Finding:
    """Each module in a process of its own, all at once; one that hangs is named with its place."""
    with ThreadPoolExecutor(len(IMPORTS)) as pool:
        outcomes = dict(zip(IMPORTS, pool.map(import_alone, IMPORTS), strict=True))
    broken = {name: outcome for name, outcome in outcomes.items() if outcome.status != 0}
    if not broken:
        slowest = max(outcomes, key=lambda name: outcomes[name].seconds)
        return passed(
            f"{', '.join(outcomes)} import; slowest: {slowest}, {outcomes[slowest].seconds:.1f} s"
        )
    text = "; ".join(f"{name} {how_it_failed(outcome)}" for name, outcome in broken.items())
    return failure(text, _import_fix(next(iter(broken)), next(iter(broken.values()))))


def import_alone(module: str, limit_s: float = IMPORT_S) -> Outcome:
    code = f"{STACKS_ON_SIGNAL}import {module}"
    return run_isolated([sys.executable, "-c", code], limit_s)


def how_it_failed(outcome: Outcome) -> str:
    """Of an import: where it hung, how it crashed, or what it said."""
    if outcome.late:
        place = " < ".join(_stack(outcome.error)) or outcome.waiting or "native code"
        return f"did not import within {outcome.seconds:.0f} s; it was in {place}"
    if outcome.status is not None and outcome.status < 0:
        what = "an instruction that this processor lacks" if outcome.status == -4 else "a crash"
        return f"ended with signal {-outcome.status} on import, {what}"
    return f"does not import: {outcome.last_line}"


def _stack(error: str) -> list[str]:
    """The innermost frames of the main thread, as faulthandler writes them, without importlib's."""
    _, _, main = error.rpartition("Current thread ")
    frames = [line.strip() for line in main.splitlines() if line.strip().startswith("File ")]
    return [frame for frame in frames if "<frozen " not in frame][:_FRAMES]


def _import_fix(module: str, outcome: Outcome) -> str:
    if outcome.late:
        command = f"{sys.executable} -X importtime -c 'import {module}'"
        return f"{command}  # interrupt it: the last line came before"
    install = "-m pip install --force-reinstall --no-deps -c constraints.txt"
    return f"{sys.executable} {install} {IMPORTS[module]}"


CHECKS: tuple[Check, ...] = (
    Check("python.version", version),
    Check("python.triton", triton),
    Check("python.libpython", libpython),
    Check("python.interpreter", interpreter, limit_s=35.0),
    Check("python.path", path),
    Check("python.requirements", requirements, limit_s=_PIP_S + 5),
    Check("python.imports", imports, limit_s=IMPORT_S + 8),
)

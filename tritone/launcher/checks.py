"""What must hold before the server starts; each failure says what is wrong and the next step."""

import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.launcher.binaries import Binaries, python_version, stub_python_version
from tritone.launcher.ports import check_free
from tritone.launcher.settings import NO_UNARY, ServerSettings
from tritone.launcher.shared_memory import SHM_DIR
from tritone.resources.owners import check_owner

_LOG = logging.getLogger(__name__)

LEAST_FILES = 128
"""A server's process holds some 70 files, and one more for each connection."""

MOST_FILES = 65536  # that it asks for

SMALL_SHM = 64 * 2**20  # bytes; Docker's default, enough for a few streams only
_PROBE_LIMIT_S = 30
_MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PROBE = """
import importlib.metadata, importlib.util, json, sys
try:
    numpy = importlib.metadata.version("numpy")
except importlib.metadata.PackageNotFoundError:
    numpy = None
tritone = importlib.util.find_spec("tritone") is not None
print(json.dumps({"prefix": sys.prefix, "numpy": numpy, "tritone": tritone}))
"""


def check_settings(settings: ServerSettings) -> None:
    """The paths and ports that the caller chose."""
    repository = settings.model_repository
    if not any(repository.glob("*/config.pbtxt")):
        raise EnvironmentProblem(f"{repository} is no Triton model repository: no */config.pbtxt")
    model = settings.model_dir
    if model is not None and not (model / "config.json").is_file():
        raise ModelDirectoryError(
            f"{model} has no config.json: TRITONE_MODEL must name a converted checkpoint; make one "
            "with `tritone convert`"
        )
    if settings.public and settings.public not in settings.models:
        raise EnvironmentProblem(
            f"{repository} has no model {settings.public}, the public model of the family that "
            f"{settings.served_model} is of; choose another with --model-repository"
        )
    _check_unary(settings)
    if settings.tls is not None:
        settings.tls.check()
    ports, addresses = settings.ports, settings.addresses
    for address in dict.fromkeys(addresses.values()):
        check_free(address, {name: p for name, p in ports.items() if addresses[name] == address})
    check_owner(settings.cache_dir)
    if unknown := set(settings.parameters) - set(settings.models or settings.parameters):
        raise EnvironmentProblem(
            f"--set: no model {', '.join(sorted(unknown))} is served; the models are "
            f"{', '.join(settings.models)}"
        )


def _check_unary(settings: ServerSettings) -> None:
    """The name that was chosen for it."""
    name = settings.unary
    if name in ("", NO_UNARY):
        return
    if not _MODEL_NAME.fullmatch(name) or (settings.model_repository / name).exists():
        raise EnvironmentProblem(
            f"--unary {name!r}: it takes a name of letters, digits and _-. that no model of "
            f"{settings.model_repository} has"
        )
    if not settings.unary_model:
        raise EnvironmentProblem(f"--unary {name}: there is no {settings.unary_folder}")


def check_open_files() -> None:
    """The hard limit of open files."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < LEAST_FILES:
        raise EnvironmentProblem(
            f"at most {hard} files may be open here (ulimit -Hn), and a server needs {LEAST_FILES}"
            "; raise the limit: in a container docker run --ulimit nofile=65536, with systemd "
            "LimitNOFILE=65536, else in /etc/security/limits.conf"
        )


def allow_open_files() -> None:
    """Raise the soft limit of this process, and so of its children: each client is an open file,
    of which many systems allow few unless a program asks for more."""
    check_open_files()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def check_shared_memory(folder: Path = SHM_DIR) -> None:
    """Room and permission for the tensors that Triton's Python models exchange."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EnvironmentProblem(
            f"{folder} is missing or not writable: Triton's Python models exchange tensors there"
        )
    free = shutil.disk_usage(folder).free
    if free < SMALL_SHM:
        _LOG.warning(
            "%s has %.0f MiB free; with less than %d MiB streams may fail under load. In a "
            "container use --ipc=host or --shm-size=1g.",
            folder,
            free / 2**20,
            SMALL_SHM // 2**20,
        )


def check_interpreter(
    binaries: Binaries, backends: Path | None, environment: Mapping[str, str]
) -> None:
    """The interpreter of the Python models, asked in the way the backend stub will start it.

    environment: of `server_environment`; its PATH begins with the folder of the interpreter.
    """
    needed = stub_python_version(backends)
    if needed not in (None, python_version()):
        raise EnvironmentProblem(
            f"the Python backend in {backends} runs Python {needed}, but Tritone is installed in "
            f"Python {python_version()} ({sys.executable}); install it in a Python {needed}"
        )
    found = _ask_stub_interpreter(environment)
    prefix = Path(environment["PATH"].split(os.pathsep)[0]).parent
    if Path(str(found["prefix"])).resolve() != prefix.resolve():
        raise EnvironmentProblem(
            f"Triton would run the Python of {found['prefix']}, not this one ({sys.prefix}): there "
            f"is no python3 beside {sys.executable}; use a virtual environment (python -m venv)"
        )
    if not found["tritone"]:
        raise EnvironmentProblem(
            "the package tritone is not installed in this environment, and Triton's interpreter "
            f"ignores PYTHONPATH and the current folder; run: {sys.executable} -m pip install -e ."
        )
    check_numpy(binaries, None if found["numpy"] is None else str(found["numpy"]))


def check_numpy(binaries: Binaries, version: str | None) -> None:
    """numpy must be there, and below 2 for the wheel's server, whose outputs it would empty."""
    if version is None:
        problem = "numpy is not installed"
    elif binaries.from_wheel and int(version.split(".")[0]) >= 2:
        problem = f"numpy {version}: with it, every output of this Triton server arrives empty"
    else:
        return
    raise EnvironmentProblem(f"{problem}; run: {sys.executable} -m pip install 'numpy>=1.26,<2'")


def _ask_stub_interpreter(environment: Mapping[str, str]) -> dict[str, object]:
    """What an isolated `python3` of that environment sees: prefix, numpy's version, tritone."""
    try:
        answer = subprocess.run(
            ["python3", "-I", "-X", "utf8=0", "-c", _PROBE],
            env={**environment, "LC_ALL": "C"},  # the stub sets no locale
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_PROBE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(
            f"python3, started as Triton would start it, did not end within {_PROBE_LIMIT_S} s; "
            "find what holds it up: python3 -I -v -c 'import tritone'"
        ) from error
    if answer.returncode != 0:
        last = answer.stderr.strip().splitlines()[-1:] or ["no message"]
        raise EnvironmentProblem(f"python3 does not start as Triton would start it: {last[0]}")
    found: dict[str, object] = json.loads(answer.stdout)
    return found

"""The command line and the environment of `tritonserver`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tritone.launcher.binaries import Binaries, find_libpython
from tritone.launcher.interpreter import plain_bin
from tritone.launcher.links import Links
from tritone.launcher.settings import ServerSettings
from tritone.resources import voice_registry_dir
from tritone.variables import (
    CACHE_VARIABLE,
    DEVICE_VARIABLE,
    FAMILIES_VARIABLE,
    KERNELS_VARIABLE,
    LEXICON_VARIABLE,
    LOG_TEXT_VARIABLE,
    MODEL_VARIABLE,
    PROFILE_VARIABLE,
    SETTINGS_VARIABLE,
    VOICES_VARIABLE,
)

DEFAULT_PROFILE = "gpu"  # that of the models' config.pbtxt; others have configs/<profile>.pbtxt
# For all models to end, after the last utterance and the order to exit. A client that does not take
# what was spoken for it, as it was stopped or has vanished, would hold up the exit for as long.
UNLOAD_TIMEOUT_S = 2

# Against what would grow for hours. glibc keeps what many threads and long texts once needed: few
# arenas, and large pieces that go back to the system. Torch's own layer over oneDNN keeps what it
# prepared for each of the last 1024 shapes, and every text has its own.
_MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "LRU_CACHE_CAPACITY": "32",
}

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

# Run by a small Python that becomes the server: a launcher that is killed takes the server along.
BECOME = (
    "import ctypes,os,signal,sys; "
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGTERM); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)

_PLACES = (
    MODEL_VARIABLE,
    CACHE_VARIABLE,
    KERNELS_VARIABLE,
    LEXICON_VARIABLE,
    FAMILIES_VARIABLE,
    VOICES_VARIABLE,
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# A peer that vanished without closing its connection (power, network) is noticed within these two
# times, and its utterance cancelled; gRPC's own default is two hours. Clients may ping as often.
_KEEPALIVE = (
    "--grpc-keepalive-time=10000",
    "--grpc-keepalive-timeout=10000",
    "--grpc-keepalive-permit-without-calls=1",
    "--grpc-http2-max-pings-without-data=0",
    "--grpc-http2-min-recv-ping-interval-without-data=5000",
)


def server_command(
    settings: ServerSettings,
    binaries: Binaries,
    backends: Path | None,
    links: Links,
    shm_prefix: str,
    control: Sequence[str] = (),
) -> list[str]:
    """The arguments that start the server, the executable first; `control` says which models."""
    command = [
        str(binaries.executable),
        f"--model-repository={links.plain(settings.model_repository, 'repository')}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--exit-timeout-secs={UNLOAD_TIMEOUT_S}",
        "--disable-auto-complete-config",  # it would load every Python model twice
        f"--log-verbose={settings.verbosity}",
        *_KEEPALIVE,
        *control,
    ]
    for service, port in settings.ports.items():
        address = settings.addresses[service]
        command += [f"--{service}-address={address}", f"--{service}-port={port}"]
    if settings.unary_model not in ("", settings.unary_folder.name):
        folder = links.holding(settings.unary_folder, settings.unary_model)
        command.append(f"--model-repository={folder}")
    if settings.tls is not None:
        command += settings.tls.arguments()
    if backends is not None:
        command.append(f"--backend-directory={backends}")
    if settings.profile != DEFAULT_PROFILE:
        command.append(f"--model-config-name={settings.profile}")
    if settings.profile == "cpu":
        command.append("--allow-gpu-metrics=false")
    return [*command, *settings.arguments]


def server_environment(
    settings: ServerSettings, binaries: Binaries, links: Links
) -> dict[str, str]:
    """The variables of the server and thus of its Python models.

    The backend stub embeds an isolated interpreter: it ignores PYTHONPATH and PYTHONHOME and takes
    its prefix from the `python3` found on PATH, a virtual environment's too. So this environment's
    folder goes first on PATH. RPATH gives the stub everything but libpython.
    """
    environment = {**_MEMORY, **os.environ}
    environment["PATH"] = _first(plain_bin(links), environment.get("PATH"))
    if binaries.libraries is not None:
        own = links.plain(binaries.libraries, "libraries")
        libraries = _first(own, environment.get("LD_LIBRARY_PATH"))
        python = links.plain(find_libpython().parent, "libpython")
        environment["LD_LIBRARY_PATH"] = _first(python, libraries)
    for variable in _THREAD_VARIABLES:
        kept = environment.get(variable, "1")
        environment[variable] = kept if settings.threads is None else str(settings.threads)
    environment.setdefault(DEVICE_VARIABLE, "cpu" if settings.profile == "cpu" else "cuda")
    environment[PROFILE_VARIABLE] = settings.profile
    environment[SETTINGS_VARIABLE] = json.dumps(settings.parameters)
    environment[LOG_TEXT_VARIABLE] = "1" if settings.log_text else ""
    if settings.model_dir is not None:
        environment[MODEL_VARIABLE] = str(settings.model_dir.resolve())
    # said in any case: a home with foreign letters reaches the models by a link alone
    environment[VOICES_VARIABLE] = str((settings.voices_dir or voice_registry_dir()).absolute())
    environment[CACHE_VARIABLE] = str(settings.cache_dir.resolve())
    return _with_plain_paths({**environment, **settings.environment}, settings, links)


def _with_plain_paths(
    environment: dict[str, str], settings: ServerSettings, links: Links
) -> dict[str, str]:
    """The variables that hold paths, in a form that the models can take."""
    environment[MODEL_VARIABLE] = environment.get(MODEL_VARIABLE) or str(settings.served_model)
    for variable in _PLACES:
        if not (value := environment.get(variable)):
            continue
        paths = value.split(os.pathsep) if variable == FAMILIES_VARIABLE else [value]
        plain = [str(links.plain(Path(path), variable.lower())) for path in paths]
        environment[variable] = os.pathsep.join(plain)
    return environment


def _first(folder: Path, rest: str | None) -> str:
    return f"{folder}{os.pathsep}{rest}" if rest else str(folder)

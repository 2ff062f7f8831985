"""Running trtllm-build: its command, its log, its end."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.llm.trtllm.engine_settings import EngineSettings, engine_arguments
from tritone.llm.trtllm.environment import WHY_THIS_VERSION, clean_environment, is_supported

PROGRAM = "trtllm-build"
TIMING_CACHE = "trtllm-build.cache"
_POLL_S = 0.2
_HEAD_BYTES = 65536  # of the log; the version is said at import
_TAIL_BYTES = 16384
_TAIL_LINES = 15
_NOT_IMPORTED = (
    "it has not even been imported, so MPI may hang: try `mpirun -n 1 --allow-run-as-root` before "
    "the command"
)
_VERSION = re.compile(r"TensorRT[- ]LLM version: (\S+)\s")


def build_command(settings: EngineSettings, checkpoint_dir: Path, engine_dir: Path) -> list[str]:
    """The call that builds `engine_dir` from a converted checkpoint, with every option said.

    Timings of kernels are kept beside `engine_dir` for the next build; they hold for one GPU and
    version, as the directory there does.
    """
    cache = engine_dir.parent / TIMING_CACHE
    return [
        PROGRAM,
        *("--checkpoint_dir", str(checkpoint_dir)),
        *("--output_dir", str(engine_dir)),
        *engine_arguments(settings),
        *("--workers", str(settings.checkpoint.tp_size)),
        *("--input_timing_cache", str(cache)),
        *("--output_timing_cache", str(cache)),
        *("--log_level", "info"),
    ]


def run_build(
    command: Sequence[str], log_path: Path, timeout_s: float, env: Mapping[str, str]
) -> None:
    """Run `command` with its output in `log_path`, at most `timeout_s` seconds.

    env is cleaned (`clean_environment`). Whatever the command started is killed when it ends.

    Raises EnvironmentProblem, with the last lines of the log, when the program is not there, when
    it fails, takes longer, or says that it is another TensorRT-LLM version.
    """
    environment = clean_environment(env)
    program = _on_path(command[0], environment)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    # A file, not a pipe: a daemon that MPI leaves behind would hold the pipe open.
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(command),
            executable=program,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        problem = _wait(process.pid, log_path, timeout_s)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        status = process.wait()
    if problem is None and status != 0:
        problem = f"was killed by signal {-status}" if status < 0 else f"failed, status {status}"
    if problem is not None:
        raise EnvironmentProblem(
            f"{command[0]} {problem}; last lines of {log_path}:\n{_tail(log_path)}"
        )


def _on_path(program: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise EnvironmentProblem(
            f"{program} is not on PATH: run this in the GPU container, or in an environment "
            "with tensorrt-llm==0.20.0"
        )
    return found


def _wait(pid: int, log_path: Path, timeout_s: float) -> str | None:
    """Return when the process ended, or with the reason to end it; it stays to be reaped."""
    deadline = time.monotonic() + timeout_s
    version = None
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        version = version or _version(log_path)
        if version is not None and not is_supported(version):
            return f"is of TensorRT-LLM {version}; {WHY_THIS_VERSION}"
        if time.monotonic() > deadline:
            hint = "give it more time" if version else _NOT_IMPORTED
            return f"took longer than {timeout_s:g} s and was stopped ({hint})"
        time.sleep(_POLL_S)
    return None


def _version(log_path: Path) -> str | None:
    with log_path.open("rb") as log:
        said = _VERSION.search(log.read(_HEAD_BYTES).decode(errors="replace"))
    return said[1] if said else None


def _tail(log_path: Path) -> str:
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - _TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:]) or "(nothing)"

"""The limits that this process and what it starts run under, and the text encoding."""

import locale
import os
import resource

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, warning
from tritone.diagnostics.doctor.checks.machine.control_groups import ControlGroups
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.checks import check_open_files

FEW_FILES = 1024  # for many clients at a time

LEAST_TASKS = 512
"""A server of five models runs some 250 threads with one thread a library, and clients come on
top."""

_UNLIMITED = resource.RLIM_INFINITY


@check("machine.limits")
def limits(target: Target) -> Finding:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the launcher raises the soft one
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    tasks, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    address, _ = resource.getrlimit(resource.RLIMIT_AS)
    room = ControlGroups().task_room()
    facts = (
        f"open files {_shown(files)}, tasks {_shown(tasks)}"
        f"{'' if room is None else f' ({room} left in the control group)'}, "
        f"locked memory {_shown(locked, 'KiB')}"
    )
    if _below(address, 64 << 30):
        limit = f"address space limited to {address / 2**30:.1f} GiB"
        why = "torch and CUDA reserve far more than they use, and end with out of memory"
        return failure(f"{facts}; {limit}: {why}", "ulimit -v unlimited")
    check_open_files()
    if _below(files, FEW_FILES):
        raised = "docker run --ulimit nofile=65536; systemd: LimitNOFILE=65536; limits.conf: nofile"
        return warning(f"{facts}: few open files for a server with many clients", raised)
    few = f"{facts}: a server starts about {LEAST_TASKS // 2} threads"
    if room is not None and room < LEAST_TASKS:
        raised = "docker run --pids-limit=4096; systemd: TasksMax=4096; Kubernetes: podPidsLimit"
        return warning(few, raised)
    if os.getuid() != 0 and _below(tasks, LEAST_TASKS):  # root is exempt
        return warning(few, "ulimit -u 4096")
    return passed(facts)


def _below(limit: int, least: int) -> bool:
    return limit != _UNLIMITED and limit < least


def _shown(limit: int, unit: str = "") -> str:
    if limit == _UNLIMITED:
        return "unlimited"
    return f"{limit // 1024} {unit}" if unit else str(limit)


@check("machine.text")
def text(target: Target) -> Finding:
    """Whether text and file names are UTF-8 for commands; the server's models take no locale."""
    chosen = [name for name in ("LC_ALL", "LC_CTYPE", "LANG") if name in os.environ]
    facts = ", ".join(f"{name}={os.environ[name]}" for name in chosen) or "no locale chosen"
    fix = "export LC_ALL=C.UTF-8"
    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        return warning(f"{facts}, which is not installed here: text falls back to ASCII", fix)
    encoding = locale.nl_langinfo(locale.CODESET)
    if encoding.upper().replace("-", "") != "UTF8":
        breaks = "Chinese text on the command line, in files and in file names breaks"
        return warning(f"{facts}: the encoding is {encoding}; {breaks}", fix)
    return passed(f"{facts}; {encoding}")

"""The machine's folders: room on the disks, and shared memory."""

import os
import shutil
import tempfile
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model import graph_place
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.checks import SMALL_SHM
from tritone.launcher.shared_memory import abandoned_regions, sweep_regions

_MIB = 2**20

LEAST_SHM = 16 * _MIB
"""Five Python models take 1 MiB each before the first request; a stream's tensors come on top."""

_LEAST_FREE = 64 * _MIB  # logs, temporary files
_LOW_FREE = 1024 * _MIB
_GRAPH_PART = 0.6  # int8 graph over the merged checkpoint in bfloat16, rounded up


@check("machine.disk", when_late="a disk does not answer; see: df -h, mount, dmesg")
def disk(target: Target) -> Finding:
    """Room where the server, or the first start with a model, writes."""
    temporary, graph = Path(tempfile.gettempdir()), graph_to_build(target)
    place = graph_place(target)
    folders = {"cache": target.cache_dir, "temporary": temporary, "model": target.model_dir}
    rooms = {name: _room(folder) for name, folder in folders.items()}
    free = {name: f"{folder}: {rooms[name] / 2**30:.1f} GiB" for name, folder in folders.items()}
    facts = ", ".join(f"{name} {room} free" for name, room in free.items())
    for name, folder in folders.items():
        fix = f"free some (du -xh --max-depth=2 {_existing(folder)}), or choose another folder"
        needed = graph if folder == place else 0
        if name == "model" and not needed:
            continue  # it is only read
        if rooms[name] < max(_LEAST_FREE, needed):
            what = f" and {needed / 1e9:.1f} GB are needed for the language model's graph"
            return failure(f"{facts}; {name} is full{what if needed else ''}", fix)
        if rooms[name] < _LOW_FREE:
            return warning(f"{facts}; {name} is nearly full", fix)
    return passed(facts)


def graph_to_build(target: Target) -> int:
    """Bytes of the language model's graph that the first start writes; 0 where it writes none."""
    llm = target.model_dir / "llm"
    merged = llm / "model.safetensors"
    if target.on_gpu or any(llm.glob("onnx/*.onnx")) or not merged.is_file():
        return 0
    return int(merged.stat().st_size * _GRAPH_PART)


def _room(folder: Path) -> int:
    """Bytes free; 0 where no further file can be made."""
    found = os.statvfs(_existing(folder))
    inodes_gone = found.f_files > 0 and found.f_favail == 0
    return 0 if inodes_gone else found.f_bavail * found.f_frsize


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one around it that exists."""
    return next(place for place in (folder, *folder.parents) if os.path.isdir(place))


@check("machine.shm")
def shm(target: Target) -> Finding:
    """Room and permission for the tensors that Triton's Python models exchange."""
    folder = target.shm_dir
    if not folder.is_dir():
        fix = f"mount -t tmpfs -o size=1g tmpfs {folder}; in a container: docker run --shm-size=1g"
        text = f"{folder} does not exist: Triton's Python models exchange tensors there"
        return failure(text, fix)
    larger = "in a container: docker run --shm-size=1g (or --ipc=host); else: "
    larger += f"mount -o remount,size=1g {folder}"
    usage = shutil.disk_usage(folder)
    facts = f"{folder}: {usage.free // _MIB} of {usage.total // _MIB} MiB free"
    try:  # a folder's mode does not tell whether one can
        with tempfile.NamedTemporaryFile(prefix=".tritone-doctor-", dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, max(1, min(usage.free, _MIB)))
    except OSError as error:
        text = f"{facts}, but no file can be made there ({error.strerror})"
        fix = f"mount it writable for this user: mount -o remount,rw,mode=1777 {folder}; {larger}"
        return failure(f"{text}; Triton's Python models could not start", fix)
    if usage.free < LEAST_SHM:
        return failure(f"{facts}; the models need {LEAST_SHM // _MIB} MiB to start", larger)
    if usage.free <= SMALL_SHM:
        small = "as Docker gives by default or less; streams may fail under load"
        return warning(f"{facts}, {small}", larger)
    return passed(f"{facts}, writable")


@check("machine.voices", when_late="a disk does not answer; see: df -h, mount, dmesg")
def voices(target: Target) -> Finding:
    """Whether this user can add voices to the registry; a server only reads it."""
    folder = target.voices_dir
    place = _existing(folder)
    here = f"added voices are in {folder}" + ("" if place == folder else ", which is not there yet")
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return passed(f"{here}; mounted to be read, so they are added elsewhere")
    try:  # a folder's mode does not tell whether one can
        with tempfile.NamedTemporaryFile(prefix=".tritone-doctor-", dir=place):
            return passed(f"{here}; this user can add some")
    except OSError as error:
        return warning(
            f"{here}, and no file can be made in {place} ({error.strerror}): voices cannot be "
            "added here, over HTTP or by `tritone voices add`",
            f"give it to the user who adds voices (chown USER {place}), or name another folder "
            "with --voices or TRITONE_VOICES",
        )


def remove_regions(target: Target) -> str:
    """Only what no living process holds is removed, so it may run at any time."""
    removed = sweep_regions(target.shm_dir)
    return f"removed {', '.join(f'{prefix}*' for prefix in sorted(removed)) or 'nothing'}"


@check("machine.regions", repair=remove_regions)
def regions(target: Target) -> Finding:
    """Remains of servers that were killed; a starting server removes them too."""
    if not target.shm_dir.is_dir():
        return skipped(f"{target.shm_dir} does not exist")
    if not (found := abandoned_regions(target.shm_dir)):
        return passed(f"no remains of servers of ours in {target.shm_dir}")
    return warning(
        f"{target.shm_dir}: {sum(found.values()) / _MIB:.1f} MiB in regions of servers that are "
        f"gone: {', '.join(f'{prefix}*' for prefix in sorted(found))}",
        f"tritone doctor --only machine.regions --fix --shm-dir {target.shm_dir}",
        repairable=True,
    )

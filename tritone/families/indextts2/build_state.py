"""What IndexTTS2 builds while it loads: the vocoder's CUDA kernel and the text normaliser's rules.

Both are written inside the installed package, under locks that nobody breaks. torch's FileBaton
waits as long as the lock file exists, and a build that was killed leaves it (pytorch issue 189245).
"""

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tritone import resources
from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.gpu.driver import has_driver
from tritone.diagnostics.doctor.checks.mpi.installation import folder_of
from tritone.diagnostics.doctor.target import Target
from tritone.families.indextts2.release_folder import FAMILY, no_folder

STALE_S = 1800.0  # the kernel builds in one or two minutes
_KERNEL = "alias_free_activation/cuda/build"
_TAGGER = ("zh_tn_tagger.fst", "zh_tn_verbalizer.fst")
_WITHOUT = "start upstream with use_cuda_kernel=False"


@dataclass(frozen=True)
class Lock:
    """A lock file of a build. holders: processes of this machine that have it open, as the one that
    builds does until it ends. certain: whether no process could have been overlooked."""

    path: Path
    age_s: float
    holders: tuple[int, ...]
    certain: bool

    @property
    def stale(self) -> bool:
        """Whether it is safe to say that nothing builds: also not on another machine or in another
        container that shares the folder, hence the age."""
        return not self.holders and self.certain and self.age_s > STALE_S

    def __str__(self) -> str:
        minutes = f"{self.age_s / 60:.0f} min old"
        if self.holders:
            return f"{self.path} ({minutes}) is held by process {self.holders[0]}, which builds"
        return f"{self.path} ({minutes}) is held by no process of this machine"


def package(folder: Path) -> Path | None:
    """Upstream's package: in the checkout that the folder lies in, else the installed one."""
    for place in (folder.parent / "indextts", folder / "indextts"):
        if place.is_dir():
            return place
    return folder_of("indextts")


def locks(folder: Path) -> list[Lock]:
    """Locks of the vocoder's kernel and of DeepSpeed's inference kernels."""
    found = list[Path]()
    if root := package(folder):
        found += root.glob(f"**/{_KERNEL}/lock")
    # upstream builds there when its own path has Chinese characters
    found.append(Path(tempfile.gettempdir()) / "BigVGAN" / "cuda" / "build" / "lock")
    cache = os.environ.get("XDG_CACHE_HOME") or resources.home() / ".cache"
    extensions = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(cache) / "torch_extensions")
    found += extensions.glob("**/transformer_inference/lock")
    return [lock for path in found if (lock := _lock(path))]


def remove_stale_locks(target: Target) -> str:
    """Delete the locks that are stale at this moment, and nothing else."""
    stale = [lock.path for lock in locks(target.releases[FAMILY]) if lock.stale]
    for path in stale:
        path.unlink(missing_ok=True)
    return f"removed {', '.join(map(str, stale))}" if stale else "nothing is stale any more"


@check("indextts2.jit_lock", unless=no_folder, limit_s=20, repair=remove_stale_locks)
def jit_lock(target: Target) -> Finding:
    """Whether a start would wait for a lock."""
    folder = target.releases[FAMILY]
    if not (found := locks(folder)):
        return passed("no build holds a lock")
    if held := [lock for lock in found if lock.holders]:
        wait = f"wait for it, or end process {held[0].holders[0]} and look again"
        return warning(f"{held[0]}: another start waits for it", wait)
    lock = next((lock for lock in found if not lock.stale), found[0])
    facts = f"{lock}: every start waits for ever at step 6, after the GPT weights"
    if lock.stale:
        again = f"tritone doctor --release indextts2={folder} --fix"
        return failure(facts, f"{again} --only indextts2.jit_lock", repairable=True)
    return warning(facts, f"if nothing builds in another container: rm {lock.path}; or {_WITHOUT}")


@check("indextts2.compiler", unless=no_folder)
def compiler(target: Target) -> Finding:
    """What building the vocoder's kernel needs, unless it is built already."""
    if not has_driver():
        return skipped("no NVIDIA driver: without a GPU no kernel is built")
    root = package(target.releases[FAMILY])
    if built := list(root.glob(f"**/{_KERNEL}/*.so")) if root else []:
        return passed(f"the kernel is built: {built[0]}")
    if missing := missing_tools():
        text = f"step 6 cannot build the vocoder's kernel: {', '.join(missing)} not found"
        fix = f"{_WITHOUT}; or install CUDA's toolkit and: {sys.executable} -m pip install ninja"
        return warning(f"{text}; upstream retries for long, then falls back to torch", fix)
    return passed("nvcc, ninja and a C++ compiler are there: step 6 builds for a minute or two")


def missing_tools() -> list[str]:
    """Those of nvcc, ninja and a C++ compiler that torch would not find."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    compilers = [Path(home) / "bin" / "nvcc" for home in homes if home]
    beside = Path(sys.executable).parent / "ninja"
    found = {
        "nvcc": bool(shutil.which("nvcc")) or any(path.is_file() for path in compilers),
        "ninja": bool(shutil.which("ninja")) or beside.is_file(),
        "c++": bool(shutil.which(os.environ.get("CXX", "c++"))),
    }
    return [name for name, there in found.items() if not there]


@check("indextts2.text_cache", unless=no_folder)
def text_cache(target: Target) -> Finding:
    """The rules that step 14 builds inside the package, or reads when they are there."""
    root = package(target.releases[FAMILY])
    if root is None:
        return skipped("the package indextts is neither beside the folder nor installed here")
    cache = root / "utils" / "tagger_cache"
    rules = [cache / name for name in _TAGGER]
    if all(path.is_file() and path.stat().st_size for path in rules):
        return passed(f"the Chinese rules are built: {cache}")
    if half := [path for path in rules if path.is_file() and not path.stat().st_size]:
        return failure(f"{half[0]} has zero bytes", f"rm {half[0]}; the next start builds it")
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        text = f"step 14 builds the Chinese rules in {cache}, and {nearest} is not writable"
        fix = f"build them in the image (load upstream's TextNormalizer once), or chown {nearest}"
        return failure(f"{text}: loading ends after the BigVGAN weights", fix)
    return passed(f"step 14 will build the Chinese rules in {cache}: about 35 s on one core")


def _lock(path: Path) -> Lock | None:
    """The lock at a path; None if it is gone."""
    import psutil

    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    place, holders = str(path.resolve()), list[int]()
    for process in psutil.process_iter(["open_files"]):  # None for somebody else's
        if any(file.path == place for file in process.info["open_files"] or ()):
            holders.append(process.pid)
    # the builder runs as the owner of its lock, and the processes of this user can be read
    certain = os.geteuid() in (0, state.st_uid)
    return Lock(path, max(0.0, time.time() - state.st_mtime), tuple(holders), certain)

"""What this process and its GPU hold."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_SHORT = 0.05  # of the machine's memory: with less available it swaps, or kills


@dataclass(frozen=True)
class Memory:
    """Bytes. resident: of this process. gpu: in use on its GPU, by all processes as nvidia-smi
    shows it; None without torch or before CUDA is used, which asking does not change, and after an
    error that ended CUDA for the process."""

    resident: int
    gpu: int | None = None


def memory_now(*, ask_gpu: bool = True) -> Memory:
    """ask_gpu: False while a call to the GPU may hang in another thread: this one would too."""
    pages = int((_PROC / "self" / "statm").read_text().split()[1])
    return Memory(pages * os.sysconf("SC_PAGE_SIZE"), _gpu_in_use() if ask_gpu else None)


def shortage() -> str:
    """A sentence if the machine's memory is nearly used up, else ""."""
    values = dict(line.split(":") for line in (_PROC / "meminfo").read_text().splitlines())
    total, available = (int(values[n].split()[0]) for n in ("MemTotal", "MemAvailable"))
    if available > _SHORT * total:
        return ""
    return f"only {available >> 10} of {total >> 10} MiB of memory are available"


def _gpu_in_use() -> int | None:
    torch = sys.modules.get("torch")
    # while torch is being imported in another thread it has no cuda yet
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    held = {index: cuda.memory_reserved(index) for index in range(cuda.device_count())}
    current = cuda.current_device()
    device = max(held, key=lambda index: (held[index], index == current))
    try:
        free, total = cuda.mem_get_info(device)
    except RuntimeError:  # the error that made it so is on its way, and must not be lost here
        return None
    return int(total - free)

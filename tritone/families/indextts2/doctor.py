"""A folder of IndexTTS2 as upstream would load it, and why loading stops at 5 GB.

On a GPU the weights of the emotion model and of GPT are 4.5 GiB, with the CUDA context 5 GB, and
"GPT weights restored" is the last line for a while. Three steps follow that say nothing: 5
(DeepSpeed), 6 (the vocoder's kernel is compiled, under a lock) and 7 (2.3 GB of w2v-bert are read).
"""

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, Status, check, checks_in, passed, warning
from tritone.diagnostics.doctor.target import Target
from tritone.families.indextts2 import build_state, memory, release_folder
from tritone.families.indextts2.release_folder import FAMILY, W2V_BERT

_SLOW_S = 60.0
_SAMPLE = 8 << 20  # bytes read at each of the places
_PLACES = 8
_READ_S = 4.0


@check("indextts2.stops_at_5gb", unless=release_folder.no_folder, limit_s=30)
def stops_at_5gb(target: Target) -> Finding:
    """Which of the three silent steps after the GPT weights would stop or last here."""
    steps = [_deepspeed(), _kernel(target), _w2v_bert(target.releases[FAMILY]), _memory()]
    found = [finding for finding in steps if finding.bad]
    facts = "; ".join(finding.text for finding in steps)
    head = "5 GB is what GPT's weights and the CUDA context take (step 4). Then, without a line: "
    if not found:
        return passed(f"{head}{facts}. Nothing here would stop it")
    worst = next((f for f in found if f.status is Status.FAIL), found[0])
    return Finding(worst.status, f"{head}{facts}", worst.fix)


def _deepspeed() -> Finding:
    if find_spec("deepspeed") is None:
        return passed("step 5, DeepSpeed: not installed")
    return warning(
        "step 5, DeepSpeed: installed; with use_deepspeed=True its import looks for a compiler and "
        "its first use builds kernels under a lock",
        "start upstream with use_deepspeed=False",
    )


def _kernel(target: Target) -> Finding:
    step = "step 6, the vocoder's kernel: "
    for finding in (build_state.jit_lock(target), build_state.compiler(target)):
        if finding.bad:
            return Finding(finding.status, step + finding.text, finding.fix)
    return passed(f"{step}no lock, {finding.text}")


def _w2v_bert(folder: Path) -> Finding:
    step, place = "step 7, w2v-bert: ", folder / W2V_BERT
    fault = release_folder.w2v_bert_fault(folder) if place.is_dir() else "is missing"
    if fault:
        fix = release_folder.fetch(folder, release_folder.W2V_BERT_PARTS)
        return Finding(Status.FAIL, f"{step}{W2V_BERT} {fault}", fix)
    weights = place / "model.safetensors"
    size, speed = weights.stat().st_size, read_speed(weights)
    read = f"{release_folder.megabytes(size)} at the {speed / 1e6:.0f} MB/s of this disk"
    facts = f"{step}{read} take {size / speed:.0f} s"
    if size / speed > _SLOW_S:
        return warning(facts, f"wait, or copy {folder} to a local disk")
    return passed(facts)


def _memory() -> Finding:
    """Whether it is not a stop but a lack of memory: then the next step raises."""
    found = memory.free_gpu()
    if isinstance(found, str):
        return passed(f"GPU memory: {found}")
    misfit = memory.first_misfit(found[0], half=False)
    if misfit is None:
        return passed(f"GPU memory: {found[0]} MiB are free, enough for all steps")
    return warning(
        f"GPU memory: {found[0]} MiB are free, step {misfit.number} ({misfit.name}) does not fit",
        "use_fp16=True; see indextts2.gpu_memory",
    )


def read_speed(path: Path) -> float:
    """Bytes a second in which a large file can be read now, tried at some places of it."""
    size, began, done = path.stat().st_size, time.monotonic(), 0
    with path.open("rb", buffering=0) as file:
        for place in range(_PLACES):
            os.lseek(file.fileno(), size * place // _PLACES, os.SEEK_SET)
            done += len(file.read(_SAMPLE))
            if time.monotonic() - began > _READ_S:
                break
    return done / max(time.monotonic() - began, 1e-6)


CHECKS = checks_in(release_folder, build_state, memory, sys.modules[__name__])

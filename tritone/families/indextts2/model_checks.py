"""The doctor's checks of a converted model directory.

Loaded without the package around it, whose code needs torch: what it needs of that is imported in
processes of their own.
"""

from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model import PROBE_S, convert, missing, no_model, probe
from tritone.diagnostics.doctor.file_faults import files_below
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.emotion_model_files import FILES, FOLDER
from tritone.families.indextts2.memory import CLONING, on_gpu
from tritone.families.indextts2.release_folder import FAMILY

# As the modules name them that read them, which import torch.
NEEDED = (
    *("tokenizer.model", "prompter.safetensors", "gpt.safetensors", "emotions.safetensors"),
    *("flow.safetensors", "vocoder.safetensors"),
)


def _needed(folder: Path) -> tuple[str, ...]:
    """With the emotion model's, where it was not left out."""
    return (*NEEDED, *FILES) if (folder / FOLDER).is_dir() else NEEDED


def _not_ours(target: Target) -> str:
    """Why there is no model directory of this family to look at; empty if there is one."""
    if reason := no_model(target):
        return reason
    if target.family == FAMILY:
        return ""
    return f"{target.model_dir} is of the family {target.family}"


@check("model.indextts2_files", unless=_not_ours)
def files(target: Target) -> Finding:
    """Every file that loading needs, and the four without which no voice can be cloned."""
    folder = target.model_dir
    needed = _needed(folder)
    again = f"copy the whole directory again, or convert again: {convert(target=folder)}"
    if lacking := missing(folder, needed):
        return failure(f"{folder} lacks {', '.join(lacking)}", again)
    if for_cloning := missing(folder, CLONING):
        if not any((folder / "voices").glob("*.safetensors")):
            return failure("no voice is registered, and none can be cloned", again)
        lost = f"{folder} lacks {' and '.join(for_cloning)}: registered voices alone can speak"
        return warning(lost, again)
    total = sum(path.stat().st_size for path in files_below(folder))
    count = len(needed) + len(CLONING) + 1
    return passed(f"all {count} files that loading reads; {total / 2**20:.0f} MiB in all")


@check("model.indextts2_shapes", unless=_not_ours, limit_s=PROBE_S + 5)
def shapes(target: Target) -> Finding:
    """Whether all names and shapes of the weights are what config.json says."""
    folder = target.model_dir
    if missing(folder, NEEDED):
        return skipped("a weight file is missing: model.indextts2_files names it")
    again = f"copy the file again, or convert again: {convert(target=folder)}"
    answer = probe(parameters, folder, again)
    if isinstance(answer, Finding):
        return answer
    parts = ", ".join(f"{name} {count / 1e6:.2f}" for name, count in answer.items())
    return passed(f"every name and shape fits; millions of parameters: {parts}")


@check("model.indextts2_gpu_memory", unless=_not_ours)
def gpu_memory(target: Target) -> Finding:
    """What the weights take on a GPU; machine.memory tells of main memory."""
    try:
        parts = dict(on_gpu(target.model_dir))
    except ModelDirectoryError as error:
        return skipped(f"{error}: see model.indextts2_files")
    sizes = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items())
    there = "language model, flow and vocoder"
    return passed(f"profile gpu-torch puts {there} on a GPU; GiB of their weights: {sizes}")


def parameters(model_dir: str) -> dict[str, Any]:
    """In a process of its own: all weights against the networks that config.json describes, of
    which the names and shapes alone are made and read."""
    from tritone.families import open_model
    from tritone.families.indextts2 import networks

    folder = Path(model_dir)
    return networks.parameters(folder, open_model(folder).config)


CHECKS = (files, shapes, gpu_memory)

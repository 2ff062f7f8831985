"""The files of a model directory: whether all are complete and readable."""

import os
from pathlib import Path

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.model.folder import convert, no_model
from tritone.diagnostics.doctor.file_faults import (
    empty,
    files_below,
    folders_below,
    lfs_pointers,
    names,
    safetensors_fault,
    unfinished,
)
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target

_GRAPHS = "llm/onnx"
_VOICES = "voices"  # whose files are model.voices'
_AGAIN = "download the checkpoint again"


@check("model.lfs")
def lfs(target: Target) -> Finding:
    """Git LFS pointers where files should be."""
    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    every = files_below(folder)
    pointers = lfs_pointers(every)
    if not pointers:
        return passed(f"none of {len(every)} files is a Git LFS pointer")
    text = f"Git LFS pointers in place of files: {names(pointers, folder)}"
    return failure(text, f"git -C {folder} lfs install && git -C {folder} lfs pull")


@check("model.downloads")
def downloads(target: Target) -> Finding:
    """What broken-off downloads left, and empty files."""
    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    nothing = empty(files_below(folder))
    nothing = [path for path in nothing if path.suffix in (".json", ".safetensors", ".onnx", ".pt")]
    if nothing:
        return failure(f"files of zero bytes: {names(nothing, folder)}", f"delete them; {_AGAIN}")
    left = unfinished(folder)
    if left:
        return warning(
            f"unfinished downloads: {names(left, folder)}",
            "let the download end, or run it again; delete them when all files are there",
        )
    return passed("nothing unfinished, no empty file")


@check("model.permissions", unless=no_model)
def permissions(target: Target) -> Finding:
    """Whether this user may read everything, and write where a server would have to."""
    folder = target.model_dir
    every = files_below(folder)
    closed = [path for path in every if not os.access(path, os.R_OK)]
    closed += [path for path in folders_below(folder) if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        return failure(f"not readable for this user: {names(closed, folder)}", _open_up(folder))
    if target.profile == "cpu" and not any((folder / _GRAPHS).glob("*.onnx")):
        nearest = next(p for p in (folder / _GRAPHS, folder / "llm", folder) if p.is_dir())
        if not os.access(nearest, os.W_OK | os.X_OK):
            return failure(
                f"{_GRAPHS} has no graph, and {nearest} is not writable: a server of the profile "
                "cpu builds the graph when it first starts",
                f"build it where it can be written: {convert(target=folder)}",
            )
    private = [path for path in every if not path.stat().st_mode & 0o044]
    if private and len(private) < len(every):
        return warning(
            f"only their owner can read {names(private, folder)}: a server of another user, as in "
            "a container, cannot",
            _open_up(folder),
        )
    return passed(f"{len(every)} files are readable")


def _open_up(folder: Path) -> str:
    return f"chmod -R a+rX {folder}"


@check("model.weights", unless=no_model)
def weights(target: Target) -> Finding:
    """Whether each file of weights is whole; their data is not read."""
    folder = target.model_dir
    there = [
        path
        for path in files_below(folder)
        if path.suffix == ".safetensors" and path.parent != folder / _VOICES
    ]
    faults = [f"{path} {fault}" for path in there if (fault := safetensors_fault(path))]
    if faults:
        again = f"copy the file again, or convert again: {convert(target=folder)}"
        return failure("; ".join(faults), again)
    total = sum(path.stat().st_size for path in there)
    return passed(f"{len(there)} files of weights are whole; {total / 2**20:.0f} MiB")

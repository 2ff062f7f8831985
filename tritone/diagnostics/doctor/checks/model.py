"""A model directory, as far as it is alike for every family of models: are its files complete and
readable, and what its packages make of it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor import file_faults
from tritone.diagnostics.doctor.check import Finding, check, failure, passed, warning
from tritone.diagnostics.doctor.checks.offline import unwritable
from tritone.diagnostics.doctor.child import REFUSED
from tritone.diagnostics.doctor.file_faults import entries_below, files_below, names
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target

PROBE_S = 35.0  # torch from a cold disk, on a busy machine: 25 were once too few
_GRAPHS = "llm/onnx"
_VOICES = "voices"  # whose files are model.voices'
_RELEASED = ("*.pt", "*.pth", "*.bin", "*.yaml", "*.safetensors")


def is_release(folder: Path) -> bool:
    """Whether it holds weights as they are released, and nothing that was converted."""
    released = any(any(folder.glob(pattern)) for pattern in _RELEASED)
    return released and not (folder / "config.json").is_file()


def no_folder(target: Target) -> str:
    folder = target.model_dir
    return "" if folder.is_dir() else f"{folder} does not exist"


def no_model(target: Target) -> str:
    """Why there is no model directory to look at; empty if there is one."""
    if (target.model_dir / "config.json").is_file():
        return ""
    return no_folder(target) or f"{target.model_dir} is no model directory: model.config says more"


def graph_place(target: Target) -> Path:
    """The model directory, or the cache, where the first start would have to write the language
    model's graph there."""
    folder = target.model_dir
    if target.on_gpu or not folder.is_dir() or any((folder / _GRAPHS).glob("*.onnx")):
        return folder
    nearest = next(p for p in (folder / _GRAPHS, folder / "llm", folder) if p.is_dir())
    return folder if os.access(nearest, os.W_OK | os.X_OK) else target.cache_dir


def missing(folder: Path, wanted: Iterable[str]) -> list[str]:
    """Those of the named files that are not there."""
    return [name for name in wanted if not (folder / name).is_file()]


def convert(source: Path | str = "RELEASE_DIR", target: Path | str = "MODEL_DIR") -> str:
    """The command that makes a model directory of a release."""
    return f"tritone convert {source} {target}"


@check("model.lfs", unless=no_folder)
def lfs(target: Target) -> Finding:
    return file_faults.lfs(target.model_dir)


@check("model.downloads", unless=no_folder)
def downloads(target: Target) -> Finding:
    """What broken-off downloads left, and empty files."""
    folder = target.model_dir
    nothing = file_faults.empty(files_below(folder))
    nothing = [path for path in nothing if path.suffix in (".json", ".safetensors", ".onnx", ".pt")]
    if nothing:
        again = "delete them; download the checkpoint again"
        return failure(f"files of zero bytes: {names(nothing, folder)}", again)
    return file_faults.unfinished(folder) or passed("nothing unfinished, no empty file")


@check("model.permissions", unless=no_model)
def permissions(target: Target) -> Finding:
    """Whether this user may read everything, and write where a server would have to."""
    folder = target.model_dir
    open_up = f"chmod -R a+rX {folder}"
    every = files_below(folder)
    folders = [folder, *filter(Path.is_dir, entries_below(folder))]
    closed = [path for path in every if not os.access(path, os.R_OK)]
    closed += [path for path in folders if not os.access(path, os.R_OK | os.X_OK)]
    if closed:
        return failure(f"not readable for this user: {names(closed, folder)}", open_up)
    if (place := graph_place(target)) != folder and (problem := unwritable(place)):
        text = f"{_GRAPHS} has no graph, {folder} is not writable, and {place} {problem}"
        why = "a server of the profile cpu writes the graph when it first starts"
        return failure(f"{text}: {why}", "name a folder for it: tritone serve --cache-dir FOLDER")
    private = [path for path in every if not path.stat().st_mode & 0o044]
    if private and len(private) < len(every):
        others = "a server of another user, as in a container, cannot"
        return warning(f"only their owner can read {names(private, folder)}: {others}", open_up)
    return passed(f"{len(every)} files are readable")


@check("model.weights", unless=no_model)
def weights(target: Target) -> Finding:
    """Whether each file of weights is whole; their data is not read."""
    folder = target.model_dir
    there = [
        path
        for path in files_below(folder)
        if path.suffix == ".safetensors" and path.parent != folder / _VOICES
    ]
    faults = [f"{path} {fault}" for path in there if (fault := file_faults.safetensors_fault(path))]
    if faults:
        again = f"copy the file again, or convert again: {convert(target=folder)}"
        return failure("; ".join(faults), again)
    total = sum(path.stat().st_size for path in there)
    return passed(f"{len(there)} files of weights are whole; {total / 2**20:.0f} MiB")


def probe(
    function: Callable[[str], dict[str, Any]], folder: Path, when_refused: str
) -> Finding | dict[str, Any]:
    """What a function says of a model directory, or what came in its way.

    It runs in a process of its own, as it tries the packages that serve the directory: one that
    hangs or crashes is named. when_refused: the next step where the directory is at fault, and not
    the installation.
    """
    outcome = call(function, str(folder), limit_s=PROBE_S)
    if outcome.late:
        load = f"load it step by step, which names the one that hangs: tritone load {folder}"
        return failure(f"did not end within {PROBE_S:g} s; it was in {outcome.place}", load)
    if outcome.status == REFUSED:
        return failure(outcome.last_line, when_refused)
    if outcome.status != 0:
        look = "look at the installation: tritone doctor --only python --verbose"
        return failure(f"broke with status {outcome.status}: {outcome.last_line}", look)
    answer: dict[str, Any] = outcome.answer
    return answer

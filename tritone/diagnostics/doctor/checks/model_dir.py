"""The model directory: whether everything that loading reads is there, whole and readable."""

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.diagnostics.doctor.check import Check, Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model_content import CHECKS as CONTENT_CHECKS
from tritone.diagnostics.doctor.checks.model_folder import (
    CLONING,
    WEIGHTS,
    convert,
    is_release,
    no_model,
)
from tritone.diagnostics.doctor.file_faults import (
    empty,
    files_below,
    folders_below,
    lfs_pointers,
    names,
    unfinished,
)
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_files import DOWNLOAD_AGAIN

if TYPE_CHECKING:
    from tritone.frontend.voices import VoiceStore
    from tritone.llm.config import LLMConfig

_GRAPHS = "llm/onnx"


def config(target: Target) -> Finding:
    """config.json: every key known, of the right type, and a family that there is code for."""
    from tritone.families import read_config

    folder = target.model_dir
    if not folder.is_dir():
        return failure(
            f"{folder} does not exist",
            "name the model directory with --model, or fetch and convert the release: make model",
        )
    if is_release(folder):
        return failure(
            f"{folder} is a release as it was downloaded, not yet a model directory",
            convert(folder),
        )
    try:
        found = read_config(folder)
    except (ModelDirectoryError, UnicodeDecodeError, OSError) as error:
        return failure(str(error), "convert the checkpoint again: " + convert())
    if not (found.family.isalnum() and find_spec(f"tritone.families.{found.family}")):
        return failure(
            f"config.json names the family {found.family!r}, for which Tritone has no code",
            "update Tritone, or convert a checkpoint of another family",
        )
    return passed(f"{found.family}, {found.sample_rate} Hz, default voice {found.default_voice}")


def files(target: Target) -> Finding:
    """Every file that loading needs, and the two without which no voice can be cloned."""
    from tritone.families import read_config
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME

    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
    needed = [TOKENIZER_NAME, *WEIGHTS]
    try:
        if read_config(folder).text.pronunciation != "none":
            needed.append("phonemes.json")
    except ModelDirectoryError:
        pass  # model.config says what is wrong with it
    missing = _missing(folder, needed)
    again = f"copy the whole directory again, or convert again: {convert(target=folder)}"
    if missing:
        return failure(f"{folder} lacks {', '.join(missing)}", again)
    for_cloning = _missing(folder, CLONING)
    if for_cloning:
        lost = f"{folder} lacks {' and '.join(for_cloning)}: registered voices alone can speak"
        return warning(lost, again)
    total = sum(path.stat().st_size for path in files_below(folder))
    return passed(f"all {len(needed) + 3} files that loading reads; {total / 2**20:.0f} MiB in all")


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


def downloads(target: Target) -> Finding:
    """What broken-off downloads left, and empty files."""
    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    nothing = empty(files_below(folder))
    nothing = [path for path in nothing if path.suffix in (".json", ".safetensors", ".onnx", ".pt")]
    if nothing:
        return failure(
            f"files of zero bytes: {names(nothing, folder)}", f"delete them; {DOWNLOAD_AGAIN}"
        )
    left = unfinished(folder)
    if left:
        return warning(
            f"unfinished downloads: {names(left, folder)}",
            "let the download end, or run it again; delete them when all files are there",
        )
    return passed("nothing unfinished, no empty file")


def permissions(target: Target) -> Finding:
    """Whether this user may read everything, and write where a server would have to."""
    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
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


def voices(target: Target) -> Finding:
    """Every registered voice, and the default one."""
    from tritone.families import read_config
    from tritone.frontend.voices import VOICE_ID, VOICES_FOLDER, VoiceStore

    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
    try:
        config = read_config(folder)
    except ModelDirectoryError:
        return skipped("config.json cannot be read: model.config says why")
    store = VoiceStore(folder)
    known, default = store.names(), config.default_voice
    copy_in = f"copy the voice file into {folder / VOICES_FOLDER}, or convert again"
    if default is not None and default not in known:
        return failure(
            f"the default voice {default!r} of config.json is missing; {store.describe()}", copy_in
        )
    damaged = [fault for name in known if (fault := _voice_fault(store, name, config.llm))]
    if damaged:
        return failure("; ".join(damaged[:3]), copy_in)
    odd = [p for p in (folder / VOICES_FOLDER).glob("*") if not VOICE_ID.fullmatch(p.stem)]
    if odd:
        return warning(
            f"no voice can have these names: {names(odd, folder)}",
            "rename them: 1 to 64 of A-Z a-z 0-9 _ . -, not starting with . or -",
        )
    if not known and _missing(folder, CLONING):
        return failure("no voice is registered, and none can be cloned", copy_in)
    if not known:
        return passed("no voice is registered: each request must bring a reference recording")
    return passed(f"{len(known)} load, the default is {default}; {store.describe()}")


def _voice_fault(store: "VoiceStore", name: str, llm: "LLMConfig") -> str:
    try:
        codes = store.load(name).prompt_tokens
    except ModelDirectoryError as error:
        return str(error)
    if codes.size and not 0 <= codes.min() <= codes.max() < llm.speech_codes:
        return f"voice {name}: has speech codes outside 0 to {llm.speech_codes - 1}"
    return ""


def _missing(folder: Path, wanted: Iterable[str]) -> list[str]:
    return [name for name in wanted if not (folder / name).is_file()]


def _open_up(folder: Path) -> str:
    return f"chmod -R a+rX {folder}"


CHECKS: tuple[Check, ...] = (
    Check("model.config", config),
    Check("model.files", files),
    Check("model.lfs", lfs),
    Check("model.downloads", downloads),
    Check("model.permissions", permissions),
    Check("model.voices", voices, limit_s=20),
    *CONTENT_CHECKS,
)

"""The content of a model directory: weights, checksums, text resources, models for cloning."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import Check, Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model_folder import (
    CLONING,
    WEIGHTS,
    convert,
    is_release,
    no_model,
)
from tritone.diagnostics.doctor.checks.model_probe import REFUSED, SPOKEN, probe
from tritone.diagnostics.doctor.examine import innermost
from tritone.diagnostics.doctor.file_faults import safetensors_fault
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

_IMPORT_S = 35.0  # torch from a cold disk, on a busy machine: 25 were once too few
_TEXT_S = 35.0
_CHECKSUM_S = 20.0
_LOAD = "python scripts/load_model.py"


def weights(target: Target) -> Finding:
    """Whether each weight file is whole, and all names and shapes are what config.json says."""
    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
    there = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    faults = [f"{path} {fault}" for path in there if (fault := safetensors_fault(path))]
    again = f"copy the file again, or convert again: {convert(target=folder)}"
    if faults:
        return failure("; ".join(faults), again)
    if len(there) < len(WEIGHTS):
        return skipped("a weight file is missing: model.files names it")
    answer = _probed("shapes", folder, _IMPORT_S, again)
    if isinstance(answer, Finding):
        return answer
    parts = ", ".join(f"{name} {count / 1e6:.2f}" for name, count in answer.items())
    return passed(f"whole, every name and shape fits; millions of parameters: {parts}")


def cloning(target: Target) -> Finding:
    """Whether the two models that read a reference recording open."""
    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
    if not all((folder / name).is_file() for name in CLONING):
        return skipped(
            "this model directory cannot clone voices: model.files names what is missing"
        )
    again = f"copy {' and '.join(CLONING)} again, or convert again: {convert(target=folder)}"
    answer = _probed("cloning", folder, _IMPORT_S, again)
    if isinstance(answer, Finding):
        return answer
    return passed(f"{' and '.join(CLONING)} open in {answer['seconds']:.1f} s")


def text(target: Target) -> Finding:
    """Whether text becomes tokens: tokenizer, phonemes, and the rules that read out numbers."""
    folder = target.model_dir
    if reason := no_model(folder):
        return skipped(reason)
    again = f"copy tokenizer.json and phonemes.json again, or: {convert(target=folder)}"
    answer = _probed("text", folder, _TEXT_S, again)
    if isinstance(answer, Finding):
        return answer
    left = [spoken for spoken in answer["spoken"].values() if any(c.isdigit() for c in spoken)]
    if left or not answer["ids"]:
        return failure(
            f"{' '.join(SPOKEN.values())} is read as {left or 'nothing'}",
            f"install the rules again: {sys.executable} -m pip install --force-reinstall wetext",
        )
    return passed(
        f"tokenizer and rules load in {answer['seconds']:.1f} s; {SPOKEN['en']!r} is read as "
        f"{answer['spoken']['en']!r}"
    )


def checksums(target: Target) -> Finding:
    """Every file against its recorded SHA-256, as far as the time goes."""
    from tritone.checkpoints.download_record import read_record
    from tritone.checkpoints.verify import file_problem
    from tritone.families.cosyvoice2.release import COSYVOICE2

    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    try:
        record = read_record(folder)
    except ModelDirectoryError as error:
        return failure(str(error), f"python scripts/download.py --dir {folder}")
    if record is None and not is_release(folder):
        return skipped("no checksums are recorded here; model.weights compares sizes and shapes")
    expected = record.release_files() if record else COSYVOICE2.files
    began, problems, done = time.monotonic(), list[str](), 0
    for file in sorted(expected, key=lambda one: one.size):
        if time.monotonic() - began > _CHECKSUM_S / 2:
            break
        if problem := file_problem(folder / file.name, file):
            problems.append(f"{file.name} {problem}")
        done += 1
    all_of_them = f"python scripts/download.py --dir {folder}"
    if problems:
        return failure("; ".join(problems[:3]), all_of_them)
    if done < len(expected):
        return warning(
            f"{done} of {len(expected)} files are right; there was no time for the largest",
            f"{all_of_them} --offline",
        )
    return passed(f"{done} files have the recorded SHA-256")


def _probed(name: str, folder: Path, limit_s: float, when_refused: str) -> Finding | dict[str, Any]:
    """The answer of a probe, or what came in its way."""
    outcome = probe(name, folder, limit_s)
    if outcome.late:
        where = innermost(outcome.error) or "native code"
        return failure(
            f"did not end within {limit_s:g} s; it was in {where}",
            f"load it step by step, which names the one that hangs: {_LOAD} {folder}",
        )
    if outcome.status == REFUSED:
        return failure(outcome.last_line, when_refused)
    if outcome.status != 0:
        return failure(
            f"broke with status {outcome.status}: {outcome.last_line}",
            "look at the installation: python scripts/doctor.py --only python --verbose",
        )
    answer: dict[str, Any] = json.loads(outcome.output.strip().splitlines()[-1])
    return answer


CHECKS: tuple[Check, ...] = (
    Check("model.weights", weights, limit_s=_IMPORT_S + 5),
    Check("model.cloning", cloning, limit_s=_IMPORT_S + 5),
    Check("model.text", text, limit_s=_TEXT_S + 5),
    Check(
        "model.checksums",
        checksums,
        limit_s=_CHECKSUM_S,
        when_late="verify without a limit: python scripts/download.py --offline --dir RELEASE_DIR",
    ),
)

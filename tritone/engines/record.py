"""engine.json: what was built in a directory, for which machine, from what, and how it was judged.

MODEL_DIR/onnx/<graph>.onnx, exports.json      exports, the same for every GPU
MODEL_DIR/engines/<machine and dtype>/         one directory for each machine and precision
    engine.json                                this record
    <graph>.plan, llm/, timing caches
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tritone.checkpoints.atomic_write import write_json
from tritone.config import Strict
from tritone.engines.machine import Machine, this_machine
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.llm.config import SpokenConfig

RECORD = "engine.json"
ENGINES_DIR = "engines"
BUILD = "tritone engines"
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Verdict:
    """error: the worst RMS error of an output over its RMS. bound: its limit. level: the lowest RMS
    of an output over the reference's. problem: why it was refused, None if it passed."""

    error: float
    bound: float
    level: float
    problem: str | None

    @property
    def passed(self) -> bool:
        return self.problem is None


class PartRecord(Strict):
    """One plan, or the LLM's engine.

    source: digest of the weights and numbers it was made from. settings: digest of how. nbytes: of
    its files. seconds: of the build. gate: how it was judged; unless it passed it is not used.
    """

    model_config = ConfigDict(allow_inf_nan=True)  # of an engine that gave what is no number

    source: str
    settings: str
    nbytes: int
    seconds: float
    gate: Verdict | None


class EngineRecord(Strict):
    """The content of engine.json."""

    format: Literal[1] = 1
    machine: Machine
    dtype: str
    parts: Mapping[str, PartRecord] = {}

    def with_part(self, name: str, part: PartRecord) -> "EngineRecord":
        return self.model_copy(update={"parts": {**self.parts, name: part}})

    def write(self, folder: Path) -> None:
        write_json(folder / RECORD, self.model_dump(mode="json"))


def read_record(folder: Path) -> EngineRecord:
    """The record of a directory; raises ModelDirectoryError if it cannot be read."""
    path = folder / RECORD
    try:
        return EngineRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelDirectoryError(
            f"{path} cannot be read ({error}); remove {folder} and build it again: {BUILD}"
        ) from error


def open_record(folder: Path, machine: Machine | None, dtype: str) -> EngineRecord:
    """The record of `folder` to add to; a new one where there is none, or another machine's."""
    assert machine is not None, "a build needs its machine"
    if (folder / RECORD).is_file():
        record = read_record(folder)
        if record.machine == machine and record.dtype == dtype:
            return record
    return EngineRecord(machine=machine, dtype=dtype)


def engine_folder(model_dir: Path, machine: Machine | None, dtype: str) -> Path:
    """Where the engines of a machine, None for any, in a precision (bfloat16, float16) lie."""
    name = machine.folder(dtype) if machine else f"<machine>-{dtype}"
    return model_dir / ENGINES_DIR / name


def plan_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.plan"


def check_part(model_dir: Path, name: str, machine: Machine, dtype: str, source: str) -> Path:
    """The directory that holds the part `name` for this machine, or ModelDirectoryError.

    The message names each value that differs, what it is here, and the command that builds anew.
    source: digest of what the part must have been made from, as `source_digest` gives it.
    """
    folder = engine_folder(model_dir, machine, dtype)
    command = f"{BUILD} {model_dir} --dtype {dtype}"
    if not (folder / RECORD).is_file():
        others = "; ".join(_others(model_dir, machine, dtype))
        there = f" What is there: {others}." if others else ""
        raise ModelDirectoryError(
            f"{model_dir} has no engines for this machine ({folder.name}).{there} Build them: "
            f"{command}"
        )
    record = read_record(folder)
    problems = list(_differences(record, machine, dtype))
    part = record.parts.get(name)
    if part is None:
        problems.append(f"it has no {name}")
    elif part.source != source:
        problems.append(
            f"{name} was made from {part.source[:12]}, the weights and numbers here are "
            f"{source[:12]}"
        )
    elif part.gate is None or not part.gate.passed:
        why = "was never judged" if part.gate is None else f"was refused: {part.gate.problem}"
        problems.append(f"{name} {why}")
    if problems:
        raise ModelDirectoryError(f"{folder}: {'; '.join(problems)}. Build it again: {command}")
    return folder


def check_language_model(model_dir: Path, config: SpokenConfig, engine: Path) -> None:
    """`check_part` of the language model's engine, which lies in the directory `engine`.

    One that was built by hand has no record and is taken as it is.
    """
    if (engine.parent / RECORD).is_file():
        weights = model_dir / LLM_DIR / WEIGHTS_NAME
        source = source_digest(weights, config.llm, config.sample_rate)
        dtype = read_record(engine.parent).dtype
        check_part(model_dir, LLM_DIR, this_machine(), dtype, source)


def _others(model_dir: Path, machine: Machine, dtype: str) -> Iterator[str]:
    for path in sorted((model_dir / ENGINES_DIR).glob(f"*/{RECORD}")):
        differences = ", ".join(_differences(read_record(path.parent), machine, dtype))
        yield f"{path.parent.name}, of which {differences}"


def _differences(record: EngineRecord, machine: Machine, dtype: str) -> Iterator[str]:
    ours = {**vars(machine), "dtype": dtype}
    theirs = {**vars(record.machine), "dtype": record.dtype}
    for name, here in ours.items():
        if theirs[name] != here:
            yield f"{name} is {theirs[name]}, here it is {here}"


def source_digest(weights: Path, numbers: BaseModel, sample_rate: int) -> str:
    """SHA-256 of what a part is made from: its numbers and its weights file.

    Reads the weights: half a second a gigabyte.
    """
    digest = hashlib.sha256(numbers.model_dump_json().encode())
    digest.update(str(sample_rate).encode())
    try:
        with weights.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise ModelDirectoryError(
            f"{weights} cannot be read ({error}); run `tritone convert` again"
        ) from error
    return digest.hexdigest()


def settings_digest(**settings: Any) -> str:
    """A short name for the settings of a build: numbers, strings, profiles."""
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:16]

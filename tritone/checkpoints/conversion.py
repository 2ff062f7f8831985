"""Conversion: what is asked of it, its steps, and model directories of an older format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.safetensors_file import DType
from tritone.config import CONFIG_NAME, FORMAT, ModelConfig
from tritone.errors import ModelDirectoryError
from tritone.plain_json import parse_json

RECORD = ".conversion.json"


@dataclass(frozen=True)
class ConvertOptions:
    """dtype: of the stored weights, None keeps the source's. graphs: LLM precisions to build.

    merged_llm: a language model in Hugging Face form that takes the place of the released one.
    """

    dtype: DType | None = None
    graphs: tuple[str, ...] = ("int8",)
    merged_llm: Path | None = None


@dataclass(frozen=True)
class Step:
    """One part of the work. run returns plain values that later steps may ask for.

    inputs: files whose change makes the step run again; options: values likewise; outputs: files
    that must exist for it to count as done. A step that names no output always runs.
    """

    name: str
    run: Callable[[], dict[str, Any]]
    inputs: Sequence[Path]
    outputs: Sequence[Path]
    options: Sequence[str] = ()

    def fingerprint(self) -> list[Any]:
        """Equal to itself after a way through JSON."""
        stats = [(path.name, path.stat()) for path in self.inputs]
        return [[[name, s.st_size, s.st_mtime_ns] for name, s in stats], list(self.options)]


def run_steps(steps: Sequence[Step], target: Path) -> dict[str, dict[str, Any]]:
    """Run what is not done yet, with a progress bar over the bytes read; all steps' results."""
    record_path = target / RECORD
    record = parse_json(record_path) if record_path.is_file() else {}
    results = {}
    sizes = [max(1, sum(path.stat().st_size for path in step.inputs)) for step in steps]
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="convert") as bar:
        for step, size in zip(steps, sizes, strict=True):
            bar.set_description(f"convert {step.name}")
            fingerprint = step.fingerprint()
            fresh = record.get(step.name, {}).get("fingerprint") == fingerprint
            there = bool(step.outputs) and all(path.exists() for path in step.outputs)
            if not (fresh and there):
                record[step.name] = {"fingerprint": fingerprint, "result": step.run()}
                write_json(record_path, record)
            results[step.name] = record[step.name]["result"]
            bar.update(size)
    return results


def upgrade(model_dir: Path) -> str:
    """Bring MODEL_DIR/config.json to the present format; what was done, in words."""
    path = model_dir / CONFIG_NAME
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist: {model_dir} is no model directory")
    content = parse_json(path)
    if content.get("format") == FORMAT:
        return f"{path} is of format {FORMAT} already"
    family = content.get("family")
    if content.get("format") != 1 or not isinstance(family, str):
        raise ModelDirectoryError(
            f"{path}: format {content.get('format')!r} of family {family!r} is unknown; "
            "convert the released files again"
        )
    envelope: dict[str, Any] = {name: content.pop(name, None) for name in ModelConfig.model_fields}
    write_json(path, {**envelope, "format": FORMAT, family: content})
    return f"{path} is of format {FORMAT} now"

"""Conversion in steps, each done once: an interrupted run resumes where it stopped."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tritone.checkpoints.atomic_write import written_whole

RECORD = ".conversion.json"


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
        stats = [(path.name, path.stat()) for path in self.inputs]
        files: list[Any] = [[name, s.st_size, s.st_mtime_ns] for name, s in stats]
        return [files, list(self.options)]


def run_steps(steps: Sequence[Step], target: Path) -> dict[str, dict[str, Any]]:
    """Run what is not done yet, with a progress bar over the bytes read; all steps' results."""
    record_path = target / RECORD
    record: dict[str, Any] = {}
    if record_path.is_file():
        record = json.loads(record_path.read_text(encoding="utf-8"))
    results = {}
    sizes = [max(1, sum(path.stat().st_size for path in step.inputs)) for step in steps]
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, desc="convert") as bar:
        for step, size in zip(steps, sizes, strict=True):
            bar.set_description(f"convert {step.name}")
            # Through JSON, so that it compares with what was read back.
            fingerprint = json.loads(json.dumps(step.fingerprint()))
            done = record.get(step.name, {})
            fresh = done.get("fingerprint") == fingerprint
            there = bool(step.outputs) and all(path.exists() for path in step.outputs)
            if not (fresh and there):
                record[step.name] = {"fingerprint": fingerprint, "result": step.run()}
                write_json(record_path, record)
            results[step.name] = record[step.name]["result"]
            bar.update(size)
    return results


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    with written_whole(path) as partial:
        partial.write_bytes(data)

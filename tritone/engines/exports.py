"""The exports of a model directory, and the tasks that write them."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from tritone.checkpoints.atomic_write import write_json
from tritone.config import Strict
from tritone.engines.export import OPSET, TOLERANCE, export
from tritone.engines.graph import VERSION, Graph
from tritone.engines.record import settings_digest
from tritone.engines.sources import Sources
from tritone.engines.tasks import Task

ONNX_DIR = "onnx"
RECORD = "exports.json"


class Export(Strict):
    """One exported graph.

    source: digest of the weights and numbers. settings: digest of how it was exported. nbytes and
    sha256: of the file. difference: from torch, see `export`. torch: its version.
    """

    source: str
    settings: str
    nbytes: int
    sha256: str
    seconds: float
    difference: float
    torch: str


class ExportsRecord(Strict):
    """The content of onnx/exports.json."""

    format: Literal[1] = 1
    graphs: Mapping[str, Export] = {}


def onnx_path(model_dir: Path, name: str) -> Path:
    return model_dir / ONNX_DIR / f"{name}.onnx"


def read_exports(model_dir: Path) -> ExportsRecord:
    """What was exported; nothing where the record is missing or of another format."""
    path = model_dir / ONNX_DIR / RECORD
    try:
        return ExportsRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return ExportsRecord()


def export_task(sources: Sources, part: str, outline: Graph) -> Task:
    """Export one graph of a part and check it."""
    name = outline.name
    path = onnx_path(sources.model_dir, name)

    def run() -> str:
        begin = time.monotonic()
        difference = export(sources.graph(part, name), path)
        entry = Export(
            source=sources.digest(part),
            settings=export_settings(),
            nbytes=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            seconds=round(time.monotonic() - begin, 1),
            difference=difference,
            torch=torch.__version__,
        )
        graphs = {**read_exports(sources.model_dir).graphs, name: entry}
        record = ExportsRecord(graphs=graphs)
        write_json(path.with_name(RECORD), record.model_dump(mode="json"))
        return f"{entry.nbytes / 1e6:.1f} MB, {difference:.1e} from torch"

    return Task(
        name=f"export {name}",
        needs=(),
        plan=(
            f"torch.onnx.export, opset {OPSET} -> {path}",
            f"checked in ONNX Runtime at {' and '.join(map(_lengths, outline.examples))}: at most "
            f"{TOLERANCE:g} of the RMS",
        ),
        done=lambda: is_exported(sources, part, name),
        run=run,
    )


def is_exported(sources: Sources, part: str, name: str) -> bool:
    """Whether the export is there and of the weights, numbers and code of now."""
    entry = read_exports(sources.model_dir).graphs.get(name)
    path = onnx_path(sources.model_dir, name)
    return (
        entry is not None
        and path.is_file()
        and path.stat().st_size == entry.nbytes
        and entry.settings == export_settings()
        and entry.source == sources.digest(part)
    )


def export_settings() -> str:
    return settings_digest(opset=OPSET, version=VERSION)


def _lengths(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())

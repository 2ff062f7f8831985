"""Where graphs of the language model lie, and what ties one to its checkpoint. It needs no onnx."""

import hashlib
import os
from pathlib import Path
from typing import Protocol

from tritone import resources
from tritone.llm.checkpoint import GRAPH_DIR

USUAL_PRECISION = "int8"  # where nobody names another
_SAMPLED_BYTES = 1 << 20  # of a checkpoint, at each end, that its weights are known by


class Numbers(Protocol):
    """Of a checkpoint."""

    def model_dump_json(self) -> str: ...


def graph_path(llm_dir: Path, precision: str) -> Path:
    """Where the graph of `precision` lives; its weights lie beside it as `<name>.data`."""
    return llm_dir / GRAPH_DIR / f"{precision}.onnx"


def graph_places(llm_dir: Path, precision: str, key: str) -> tuple[Path, Path]:
    """Beside the checkpoint of this `checkpoint_key`, and in the cache, for a model directory that
    cannot be written."""
    beside = graph_path(llm_dir, precision)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return beside, resources.default_cache_dir() / "graphs" / digest / beside.name


def checkpoint_key(weights: Path, config: Numbers) -> str:
    """What a graph says that it was built from: the numbers, and a digest of the weights' ends.

    Weights of the same sizes that were trained anew differ in nearly every byte.
    """
    with weights.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SAMPLED_BYTES))
        digest = hashlib.sha256(file.read())
        file.seek(0)
        digest.update(file.read(_SAMPLED_BYTES))
    return f"{config.model_dump_json()} {size} {digest.hexdigest()}"

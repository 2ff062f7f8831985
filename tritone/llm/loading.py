"""Opening the language model of a model directory, its graph built when it is not there yet."""

import os
from pathlib import Path

from tritone.config import ModelConfig
from tritone.errors import ModelDirectoryError
from tritone.llm.graph import build_graph, graph_path


def ensure_graph(model_dir: Path, config: ModelConfig, precision: str) -> None:
    """Build the graph of `precision` unless it is there; seconds for a small model, a minute for
    half a billion parameters.

    Raises ModelDirectoryError when it is missing and the directory cannot be written.
    """
    llm_dir = model_dir / "llm"
    path = graph_path(llm_dir, precision)
    if path.is_file():
        return
    if not os.access(llm_dir, os.W_OK):
        raise ModelDirectoryError(
            f"{path} does not exist and {llm_dir} cannot be written: run scripts/convert.py with "
            f"--llm-precision {precision} where it can"
        )
    build_graph(llm_dir, config.llm, precision)

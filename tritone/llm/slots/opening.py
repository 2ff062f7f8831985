"""Opening the language model of a model directory on a CPU: ONNX Runtime, or a kernel in C."""

import errno
import os
from pathlib import Path

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.config import SpokenConfig
from tritone.llm.native.choice import AUTO, chosen
from tritone.llm.native.slots import NativeSlots
from tritone.llm.onnx.graph import Qwen2Graph, build, built_from
from tritone.llm.onnx.graph_files import USUAL_PRECISION, checkpoint_key, graph_places
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.onnx.step_graph import CheckpointNumbers, StepGraph
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.slots.session import SlotSession
from tritone.llm.slots.speech import QwenSpeech
from tritone.loading.steps import note, step
from tritone.variables import CACHE_VARIABLE

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def open_onnx(
    model_dir: Path,
    config: SpokenConfig,
    *,
    precision: str = USUAL_PRECISION,
    slots: int = 8,
    max_tokens: int = 4096,
    max_waiting: int = 64,
    threads: int = 1,
    kernels: str = AUTO,
) -> SlotLanguageModel:
    """On a CPU; the graph of `precision` is built when it is wanted and not there yet.

    slots: streams that advance together. max_tokens: positions of a slot, prompt included, at most
    the checkpoint's own limit. max_waiting: requests that may wait. threads: of an operator.
    kernels: one of `tritone.llm.native.choice.NAMES`.

    Raises ModelDirectoryError if the checkpoint or its graph cannot be used, and EnvironmentProblem
    for kernels that cannot be.
    """
    kernel, why = chosen(kernels, precision, threads)
    folder, length = model_dir / LLM_DIR, min(max_tokens, config.llm.max_position_embeddings)
    weights = folder / WEIGHTS_NAME
    session: SlotSession
    graph = None if kernel else ensure_graph(model_dir, config, precision)
    with step("LLM session", graph or weights):
        if kernel:
            session = NativeSlots(folder, config.llm, kernel.path, slots=slots, slot_length=length)
        else:
            session = OnnxSlots(
                folder,
                config.llm,
                precision=precision,
                slots=slots,
                slot_length=length,
                threads=threads,
                graph=graph,
            )
        note(why)
        embedding = EmbeddingTable(Checkpoint(weights))
    return SlotLanguageModel(session, QwenSpeech(embedding, config), max_waiting)


def ensure_graph(model_dir: Path, config: SpokenConfig, precision: str) -> Path:
    """As `graph_of`, of the merged checkpoint."""
    weights = model_dir / LLM_DIR / WEIGHTS_NAME
    return graph_of(Qwen2Graph, model_dir, weights, config.llm, precision)


def graph_of(
    kind: type[StepGraph],
    model_dir: Path,
    weights: Path,
    numbers: CheckpointNumbers,
    precision: str,
) -> Path:
    """The graph of `precision`, built unless it is there and of these weights; a minute for half a
    billion parameters.

    A model directory that cannot be written has it in the cache. Raises ModelDirectoryError when
    it must be built and neither can be written.
    """
    llm_dir = model_dir / LLM_DIR
    key = checkpoint_key(weights, numbers)
    beside, cached = graph_places(llm_dir, precision, key)
    for path in (beside, cached):
        if os.path.isdir(path):
            raise ModelDirectoryError(
                f"{path} is a directory; remove it, and the graph is built anew"
            )
        if os.path.isfile(path) and built_from(path) == key:  # pathlib raises in a closed folder
            return path
    with step("LLM graph", weights):
        for path in (beside, cached):
            try:
                return build(kind, llm_dir, numbers, precision, path, weights)
            except OSError as error:
                if error.errno not in _FORBIDDEN:
                    raise
    raise ModelDirectoryError(
        f"{beside} is not there for this checkpoint, and neither {llm_dir} nor {cached.parent} can "
        f"be written to make it; set {CACHE_VARIABLE} to a folder that can"
    )

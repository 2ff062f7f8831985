"""Opening the language model of a model directory on one of Tritone's own runtimes."""

import os
from pathlib import Path

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.config import SpokenConfig
from tritone.llm.onnx.graph import build_graph, built_from, checkpoint_key, graph_path
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.loading.steps import step


def open_onnx(
    model_dir: Path,
    config: SpokenConfig,
    *,
    precision: str = "int8",
    slots: int = 8,
    max_tokens: int = 4096,
    max_waiting: int = 64,
    threads: int = 1,
) -> SlotLanguageModel:
    """On a CPU with ONNX Runtime; the graph of `precision` is built when it is not there yet.

    slots: streams that advance together. max_tokens: positions of a slot, prompt included, at most
    the checkpoint's own limit. max_waiting: requests that may wait. threads: of an operator.

    Raises ModelDirectoryError if the checkpoint or its graph cannot be used.
    """
    ensure_graph(model_dir, config, precision)
    folder, length = model_dir / LLM_DIR, min(max_tokens, config.llm.max_position_embeddings)
    sizes = {"slots": slots, "slot_length": length, "threads": threads}
    with step("LLM session", graph_path(folder, precision)):
        session = OnnxSlots(folder, config.llm, precision=precision, **sizes)
        embedding = EmbeddingTable(Checkpoint(folder / WEIGHTS_NAME))
    return SlotLanguageModel(session, embedding, config, max_waiting)


def open_torch(
    model_dir: Path,
    config: SpokenConfig,
    *,
    device: str = "cuda",
    dtype: str = "bf16",
    slots: int = 32,
    max_tokens: int = 2048,
    max_waiting: int = 64,
) -> SlotLanguageModel:
    """With torch, on a GPU under CUDA graphs. Parameters as for `open_onnx`.

    dtype: of weights, keys and values: fp32, bf16, fp16 or auto.

    Raises ModelDirectoryError if the checkpoint cannot be used, EnvironmentProblem if the device
    cannot.
    """
    # a process that runs the model on ONNX Runtime should not pay for torch
    from tritone.compute.device import best_dtype, torch_device, torch_dtype
    from tritone.llm.torch.slots import TorchSlots

    place, llm = torch_device(device), config.llm
    kind = torch_dtype(dtype) or best_dtype(place, llm.hidden_size)
    checkpoint = Checkpoint(model_dir / LLM_DIR / WEIGHTS_NAME)
    sizes = {"slots": slots, "slot_length": min(max_tokens, llm.max_position_embeddings)}
    session = TorchSlots(checkpoint, llm, device=place, dtype=kind, **sizes)
    return SlotLanguageModel(session, EmbeddingTable(checkpoint), config, max_waiting)


def ensure_graph(model_dir: Path, config: SpokenConfig, precision: str) -> None:
    """Build the graph of `precision` unless it is there and of this checkpoint; a minute for half
    a billion parameters.

    Raises ModelDirectoryError when it must be built and the directory cannot be written.
    """
    llm_dir = model_dir / LLM_DIR
    path = graph_path(llm_dir, precision)
    if path.is_file() and built_from(path) == checkpoint_key(llm_dir, config.llm):
        return
    if path.is_dir():
        raise ModelDirectoryError(f"{path} is a directory; remove it, and the graph is built anew")
    if not os.access(llm_dir, os.W_OK):
        wrong = "is of another checkpoint" if path.is_file() else "does not exist"
        raise ModelDirectoryError(
            f"{path} {wrong} and {llm_dir} cannot be written: run `tritone convert` with "
            f"--llm-precision {precision} where it can"
        )
    with step("LLM graph", llm_dir / WEIGHTS_NAME):
        build_graph(llm_dir, config.llm, precision)

"""Opening the language model of a model directory on torch."""

from pathlib import Path

from tritone import kernel_choice
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import best_dtype, torch_device, torch_dtype
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.config import SpokenConfig
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.slots.speech import QwenSpeech
from tritone.llm.torch import trial
from tritone.llm.torch.fused_slots import FusedSlots
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots
from tritone.loading.steps import step


def open_torch(
    model_dir: Path,
    config: SpokenConfig,
    *,
    device: str = "cuda",
    dtype: str = "bf16",
    slots: int = 64,
    max_tokens: int = 2048,
    max_waiting: int = 64,
    gpu_kernels: str = kernel_choice.AUTO,
) -> SlotLanguageModel:
    """With torch, on a GPU under CUDA graphs. Parameters as for
    `tritone.llm.slots.opening.open_onnx`.

    dtype: of weights, keys and values: fp32, bf16, fp16 or auto. gpu_kernels: one of
    `tritone.kernel_choice.NAMES`.

    Raises ModelDirectoryError if the checkpoint cannot be used, EnvironmentProblem if the device or
    the kernels cannot.
    """
    kernel_choice.check(gpu_kernels)
    place, llm = torch_device(device), config.llm
    kind = torch_dtype(dtype) or best_dtype(place, llm.hidden_size)
    checkpoint = Checkpoint(model_dir / LLM_DIR / WEIGHTS_NAME)
    sizes = {"slots": slots, "slot_length": min(max_tokens, llm.max_position_embeddings)}
    sizes["window"] = config.sampling.repetition_window
    decoder = TorchQwen2(checkpoint, llm, place, kind)
    with step("LLM kernels"):
        fused = trial.choose(gpu_kernels, decoder)
    session = (FusedSlots if fused else TorchSlots)(decoder, **sizes)
    if place.type == "cuda":
        with step("LLM graphs"):
            session.record_graphs()
    speech = QwenSpeech(EmbeddingTable(checkpoint), config)
    return SlotLanguageModel(session, speech, max_waiting)

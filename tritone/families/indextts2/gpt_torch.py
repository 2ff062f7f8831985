"""Opening the language model of a model directory on torch, on a GPU under CUDA graphs."""

from pathlib import Path

import torch
from torch import Tensor

from tritone.acoustic.weights import load_network
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.compute import best_dtype, torch_device, torch_dtype
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.gpt_speech import GptSpeech
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.llm.torch.decoder import Attend
from tritone.llm.torch.slots import SPARE, TorchSlots
from tritone.loading.steps import note, step


class TorchGpt:
    """`tritone.llm.torch.decoder.TorchDecoder` of a network, whose rows have their places already.
    The network is moved and rounded."""

    def __init__(self, gpt: Gpt, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.device, self.dtype = gpt.config, device, dtype
        self.rows = gpt.config.codes + 2
        self.waiting = slice(gpt.config.stop, gpt.config.stop + 1)
        self._gpt = gpt.to(device, dtype)

    def forward(self, embeds: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        return self._gpt.hidden(embeds.to(self.dtype), attend)[:, -1]

    def logits(self, last: Tensor) -> Tensor:
        return self._gpt.logits(last).float()


def open_gpt_torch(
    model_dir: Path,
    config: IndexTTS2Config,
    *,
    device: str = "cuda",
    dtype: str = "bf16",
    slots: int = 64,
    max_tokens: int = 2048,
    max_waiting: int = 64,
) -> SlotLanguageModel:
    """Parameters and errors as for `tritone.llm.torch.opening.open_torch`.

    slots: at most; there are fewer where half of the GPU's free memory does not hold so many. A
    position of a stream takes 240 KiB in bfloat16, of CosyVoice2's 12.
    """
    place, gpt, path = torch_device(device), config.gpt, model_dir / DECODER_FILE
    kind = torch_dtype(dtype) or best_dtype(place, gpt.width)
    with step("LLM weights", path):
        decoder = TorchGpt(load_network(lambda: Gpt(gpt), path), place, kind)
        length = min(max_tokens, gpt.most_positions)
        fit = fitting(slots, 2 * position_bytes(gpt, kind) * (length + SPARE), place)
        note(f"{fit} of {slots} slots")
    session = TorchSlots(decoder, slots=2 * fit, slot_length=length, window=None)
    if place.type == "cuda":
        with step("LLM graphs"):
            session.record_graphs()
    speech = GptSpeech(Checkpoint(path), gpt, config.drawing)
    return SlotLanguageModel(PairedSlots(session), speech, max_waiting)


def position_bytes(gpt: GptConfig, dtype: torch.dtype) -> int:
    """Keys and values of one position of one row."""
    return 2 * gpt.layers * gpt.width * dtype.itemsize


def fitting(slots: int, slot_bytes: int, device: torch.device) -> int:
    """As many slots as half of a GPU's free memory holds, at most `slots`: flow and vocoder are on
    the same one. Raises EnvironmentProblem where it holds none."""
    if device.type != "cuda":
        return slots
    free, _ = torch.cuda.mem_get_info(device)
    if (most := free // 2 // slot_bytes) < 1:
        raise EnvironmentProblem(
            f"{device} has {free / 2**30:.1f} GiB free, of which the language model takes half for "
            f"keys and values, and a slot needs {slot_bytes / 2**30:.1f}: set max_tokens lower, or "
            "end what else uses the GPU (nvidia-smi names it)"
        )
    return min(slots, most)

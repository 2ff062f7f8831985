"""Opening the language model of a model directory, on a CPU with torch."""

from pathlib import Path

from tritone.acoustic.weights import load_network
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_engine import GptLanguageModel
from tritone.loading.steps import step

DECODER_FILE = "gpt.safetensors"


def open_gpt(
    model_dir: Path, config: IndexTTS2Config, *, slots: int = 8, max_waiting: int = 64
) -> GptLanguageModel:
    """In float32. slots: generations that go on at once; max_waiting more may wait.

    Raises ModelDirectoryError if the weights cannot be used.
    """
    path = model_dir / DECODER_FILE
    with step("LLM weights", path):
        gpt = load_network(lambda: Gpt(config.gpt), path)
    return GptLanguageModel(gpt, config.drawing, slots, max_waiting)

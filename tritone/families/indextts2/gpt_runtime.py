"""Opening the language model of a model directory on ONNX Runtime, on a CPU."""

from pathlib import Path

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt_graph import GptGraph
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.gpt_speech import GptSpeech
from tritone.llm.checkpoint import LLM_DIR
from tritone.llm.onnx.graph_files import USUAL_PRECISION
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import graph_of
from tritone.llm.slots.scheduler import SlotLanguageModel
from tritone.loading.steps import step

DECODER_FILE = "gpt.safetensors"


def open_gpt(
    model_dir: Path,
    config: IndexTTS2Config,
    *,
    precision: str = USUAL_PRECISION,
    slots: int = 8,
    max_tokens: int = 4096,
    max_waiting: int = 64,
    threads: int = 1,
) -> SlotLanguageModel:
    """Parameters and errors as for `tritone.llm.slots.opening.open_onnx`."""
    gpt, weights = config.gpt, model_dir / DECODER_FILE
    graph = ensure_gpt_graph(model_dir, config, precision)
    with step("LLM session", graph):
        session = OnnxSlots(
            model_dir / LLM_DIR,
            gpt,
            precision=precision,
            slots=2 * slots,
            slot_length=min(max_tokens, gpt.most_positions),
            threads=threads,
            graph=graph,
            weights=weights,
        )
        speech = GptSpeech(Checkpoint(weights), gpt, config.drawing)
    return SlotLanguageModel(PairedSlots(session), speech, max_waiting)


def ensure_gpt_graph(model_dir: Path, config: IndexTTS2Config, precision: str) -> Path:
    """The graph of `precision`, built unless it is there; see `graph_of`."""
    return graph_of(GptGraph, model_dir, model_dir / DECODER_FILE, config.gpt, precision)

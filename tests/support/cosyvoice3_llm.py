"""The tiny golden language model of CosyVoice3, merged."""

import json
from pathlib import Path
from typing import Any

import paths
from llm_model import TinyConfig
from safetensors.torch import save_file
from torch import Tensor

from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice3.merge_llm import PUBLISHED, merge_llm
from tritone.llm.config import SamplingConfig

GOLDEN = paths.GOLDEN / "cosyvoice3"
TINY = GOLDEN / "llm_tiny"
BASE = TINY / "CosyVoice-BlankEN"
META = json.loads((GOLDEN / "llm_meta.json").read_text())
TEXT_IDS = 151924


def merge_tiny(llm_dir: Path) -> SpeechIds:
    return merge_llm(TINY / "llm.pt", BASE, llm_dir, text_ids=TEXT_IDS)


def build_tiny(model_dir: Path) -> TinyConfig:
    """A model directory that holds the language model alone, with a config to match."""
    return TinyConfig(merge_tiny(model_dir / "llm"), SamplingConfig())


def published(
    folder: Path, weights: dict[str, Tensor], config: dict[str, Any], numbers: dict[str, Any]
) -> Path:
    """Write the checkpoint in the form that upstream's script gives it.

    weights: a merged checkpoint's. config: of its Qwen2. numbers: of its speech ids.
    """
    tensors = {name: tensor.clone() for name, tensor in weights.items() if name != "lm_head.bias"}
    speech = weights["lm_head.bias"].isfinite().nonzero().flatten().tolist()
    text, end = slice(speech[0]), speech[-1] + 1
    tensors["lm_head.weight"][text] = tensors["model.embed_tokens.weight"][text]
    tensors["model.embed_tokens.weight"][end:] = 1  # no zeros: nobody says what they are
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / PUBLISHED).write_text(json.dumps(numbers))
    return folder

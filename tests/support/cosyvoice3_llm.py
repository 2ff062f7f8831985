"""The tiny golden language model of CosyVoice3, merged."""

import json
from pathlib import Path

import paths
from llm_model import TinyConfig

from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice3.merge_llm import merge_llm
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

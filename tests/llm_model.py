"""The tiny golden language model, merged and built, for the tests of the llm package."""

from pathlib import Path

from tritone.config import LLMConfig, ModelConfig, SamplingConfig
from tritone.llm.graph import build_graph
from tritone.llm.merge import merge_llm

GOLDEN = Path(__file__).parent / "golden" / "llm_frontend"
TINY = GOLDEN / "llm_tiny"
TEXT_IDS = 284


def merge_tiny(llm_dir: Path) -> LLMConfig:
    base = TINY / "CosyVoice-BlankEN"
    return merge_llm(TINY / "llm.pt", base, llm_dir, text_ids=TEXT_IDS)


def build_tiny(model_dir: Path, *precisions: str) -> ModelConfig:
    """A model directory that holds the language model alone, with a config to match."""
    llm = merge_tiny(model_dir / "llm")
    for precision in precisions:
        build_graph(model_dir / "llm", llm, precision)
    return ModelConfig.model_construct(llm=llm, sampling=SamplingConfig())

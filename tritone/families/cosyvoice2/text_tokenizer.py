"""The text tokenizer of a model directory."""

from pathlib import Path

from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer
from tritone.loading.steps import step


def load_tokenizer(model_dir: Path, llm: SpeechIds) -> TextTokenizer:
    """Raises ModelDirectoryError for a file that is missing, damaged or of another checkpoint."""
    with step("text tokenizer", model_dir / TOKENIZER_NAME):
        tokenizer = TextTokenizer(model_dir / TOKENIZER_NAME)
    if tokenizer.size != llm.speech_offset:
        raise ModelDirectoryError(
            f"{model_dir / TOKENIZER_NAME} has {tokenizer.size} ids, but in config.json "
            f"speech starts at {llm.speech_offset}: files of two checkpoints are mixed; "
            "convert the release again"
        )
    return tokenizer

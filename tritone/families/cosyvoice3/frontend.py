"""CosyVoice3's front end: CosyVoice2's, with words of the system in every prompt and phonemes."""

from pathlib import Path

from tritone.families.cosyvoice2.frontend import PromptFrontend, pronouncer
from tritone.families.cosyvoice2.reference import ReferenceReader
from tritone.families.cosyvoice2.text_tokenizer import load_tokenizer
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.released_tokenizer import TAGS
from tritone.families.cosyvoice3.voice import Voice
from tritone.families.cosyvoice3.wording import SystemWording
from tritone.frontend.text.settings import DEFAULT_TEXT, TextSettings
from tritone.synthesis.limits import DEFAULT_LIMITS, Limits


class CosyVoice3Frontend(PromptFrontend):
    def __init__(
        self,
        model_dir: Path,
        config: CosyVoice3Config,
        limits: Limits = DEFAULT_LIMITS,
        text: TextSettings = DEFAULT_TEXT,
        reader: ReferenceReader | None = None,
    ) -> None:
        """Raises ModelDirectoryError when a file of the model directory is missing or damaged."""
        tokenizer = load_tokenizer(model_dir, config.llm)
        super().__init__(
            model_dir, config, limits, text,
            tokenizer=tokenizer,
            wording=SystemWording(tokenizer, config.text),
            tags=TAGS,
            kind=Voice,
            pronounce=pronouncer(model_dir, config.text.pronunciation, tokenizer, TAGS),
            reader=reader,
        )  # fmt: skip

"""The tokens that CosyVoice3 adds to Qwen2's tokenizer."""

from pathlib import Path

from tokenizers import Tokenizer

from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2 import released_tokenizer as cosyvoice2
from tritone.families.cosyvoice3.phonemes import PHONEMES

END_OF_SYSTEM = "<|endofsystem|>"
TAGS = (*cosyvoice2.TAGS, *PHONEMES)  # what a user may write
ADDED = (cosyvoice2.END_OF_PROMPT, *cosyvoice2.TAGS, END_OF_SYSTEM, *PHONEMES)


def build_base_tokenizer(blank_en_dir: Path) -> Tokenizer:
    """As CosyVoice2's; the added tokens are 151646 .. 151923 in the released checkpoint.

    Also raises ModelDirectoryError for an existing tokenizer.json that lacks one of them.
    """
    tokenizer = cosyvoice2.build_base_tokenizer(blank_en_dir, ADDED)
    if lacking := [token for token in ADDED if tokenizer.token_to_id(token) is None]:
        raise ModelDirectoryError(
            f"the tokenizer of {blank_en_dir} lacks {len(lacking)} of the {len(ADDED)} tokens that "
            f"CosyVoice3 adds, {lacking[0]} first"
        )
    return tokenizer

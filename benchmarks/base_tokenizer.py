"""The text tokenizer of a release with a made-up vocabulary: every byte is a token of its own.

Real words are several letters a token, so a text has some four times the ids that it would have.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from tritone.families.cosyvoice2.released_files import TOKENIZER_PARTS

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_tokenizer_parts(folder: Path, text_ids: int, added: Sequence[str]) -> None:
    """Write what a release has in CosyVoice-BlankEN of Qwen2's tokenizer.

    text_ids: that the tokenizer has once `added` follow. Words that no text has fill it up.
    """
    vocabulary, merges, config = (folder / name for name in TOKENIZER_PARTS)
    letters, count = sorted(ByteLevel.alphabet()), text_ids - len(_SPECIAL) - len(added)
    words = [*letters, *(f"word {number}" for number in range(count - len(letters)))]
    ids = {word: number for number, word in enumerate(words)}
    vocabulary.write_text(json.dumps(ids), encoding="utf-8")
    merges.write_text("#version: 0.2\n", encoding="utf-8")
    marks = {str(count + n): {"content": mark} for n, mark in enumerate(_SPECIAL)}
    config.write_text(json.dumps({"added_tokens_decoder": marks}), encoding="utf-8")

"""The text tokenizer of a released checkpoint: Qwen2's, with the tokens that CosyVoice2 adds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as PreTokenizers

from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_files import TOKENIZER_PARTS
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, is_control

# CosyVoice2 adds these to Qwen2's tokenizer, in this order (upstream's CosyVoice2Tokenizer).
END_OF_PROMPT = "<|endofprompt|>"
TAGS = (
    *("[breath]", "<strong>", "</strong>", "[noise]", "[laughter]", "[cough]", "[clucking]"),
    *("[accent]", "[quick_breath]", "<laughter>", "</laughter>", "[hissing]", "[sigh]"),
    *("[vocalized-noise]", "[lipsmack]", "[mn]"),
)
ADDED = (END_OF_PROMPT, *TAGS)

# Qwen2's word pattern (Qwen2TokenizerFast).
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_base_tokenizer(blank_en_dir: Path, added: Sequence[str] = ADDED) -> Tokenizer:
    """The text tokenizer of an upstream checkpoint, ready to be saved as tokenizer.json.

    blank_en_dir: the checkpoint's CosyVoice-BlankEN. An existing tokenizer.json there is taken with
    its own ids; otherwise vocab.json, merges.txt and tokenizer_config.json make Qwen2's tokenizer
    and the added tokens follow (CosyVoice2's are 151646 .. 151662 in the released checkpoint).
    added: control tokens and tags, in upstream's order.
    Raises ModelDirectoryError naming the missing or damaged file.
    """
    ready = blank_en_dir / TOKENIZER_NAME
    if ready.is_file():
        tokenizer = Tokenizer.from_file(str(ready))
    else:
        tokenizer = _qwen2_tokenizer(blank_en_dir)
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in added])
    return _mark_control_tokens(tokenizer, added)


def _qwen2_tokenizer(folder: Path) -> Tokenizer:
    for name in TOKENIZER_PARTS:
        if not (folder / name).is_file():
            raise ModelDirectoryError(f"{folder / name} does not exist: download it again")
    model = BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = NFC()
    words = Split(Regex(WORD_PATTERN), behavior="isolated")
    symbols = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = PreTokenizers([words, symbols])
    tokenizer.decoder = ByteLevelDecoder()
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    listed = sorted(config.get("added_tokens_decoder", {}).items(), key=lambda item: int(item[0]))
    for wanted, entry in listed:
        content = entry["content"]
        tokenizer.add_special_tokens([AddedToken(content, normalized=False, special=True)])
        if tokenizer.token_to_id(content) != int(wanted):
            raise ModelDirectoryError(
                f"{folder}: {content} gets id {tokenizer.token_to_id(content)}, but "
                f"tokenizer_config.json says {wanted}: vocab.json is of another checkpoint"
            )
    return tokenizer


def _mark_control_tokens(tokenizer: Tokenizer, added: Sequence[str]) -> Tokenizer:
    """Mark control tokens special and tags not; only the JSON form lets a flag change."""
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        content = token["content"]
        token["special"] = is_control(content) or (token["special"] and content not in added)
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))

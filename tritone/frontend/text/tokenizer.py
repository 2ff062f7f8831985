"""Text to the LLM's text ids.

A checkpoint's tokenizer knows two kinds of added tokens. Tags such as [laughter] or <strong> are
part of what a user may write. Control tokens (<|im_start|>, <|endofprompt|>, ...) belong to the
prompt layout: in text they are ordinary characters. The tokenizer.json of a model directory says
which is which by the flag `special`, set for control tokens only; ids of speech codes, sos and
task_id are not in it at all.
"""

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

TOKENIZER_NAME = "tokenizer.json"

# CosyVoice2 adds these to Qwen2's tokenizer, in this order (upstream's CosyVoice2Tokenizer).
END_OF_PROMPT = "<|endofprompt|>"
TAGS = (
    *("[breath]", "<strong>", "</strong>", "[noise]", "[laughter]", "[cough]", "[clucking]"),
    *("[accent]", "[quick_breath]", "<laughter>", "</laughter>", "[hissing]", "[sigh]"),
    *("[vocalized-noise]", "[lipsmack]", "[mn]"),
)

# Qwen2's word pattern (Qwen2TokenizerFast).
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class TextTokenizer:
    """Encodes what people write; decodes for enrolled transcripts."""

    def __init__(self, path: Path) -> None:
        """Load a tokenizer.json.

        Raises ModelDirectoryError when it is missing, damaged or lets text reach a control id.
        """
        if not path.is_file():
            raise ModelDirectoryError(f"{path} does not exist: convert the checkpoint again")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a malformed file
            raise ModelDirectoryError(f"{path}: not a tokenizer file: {error}") from error
        for token in self._tokenizer.get_added_tokens_decoder().values():
            if _is_control(token.content) and not token.special:
                raise ModelDirectoryError(
                    f"{path}: {token.content} is not marked special, so text could produce its id; "
                    "use the base text tokenizer, without speech or control tokens"
                )
        self._tokenizer.encode_special_tokens = True  # special tokens in text are plain characters

    @property
    def size(self) -> int:
        """Ids are 0 .. size - 1."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without beginning or end marks; never a control id."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def length(self, text: str) -> int:
        return len(self.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, control tokens included by name."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def control_id(self, token: str) -> int:
        """Id of a control token such as <|endofprompt|>; ModelDirectoryError when there is none."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ModelDirectoryError(f"{TOKENIZER_NAME} lacks {token}, which config.json names")
        return int(found)

    def knows(self, character: str) -> bool:
        """Whether the vocabulary holds `character` as a token of its own."""
        return self._tokenizer.token_to_id(character) is not None


def build_base_tokenizer(blank_en_dir: Path) -> Tokenizer:
    """The text tokenizer of an upstream checkpoint, ready to be saved as tokenizer.json.

    blank_en_dir: the checkpoint's CosyVoice-BlankEN. An existing tokenizer.json there is taken with
    its own ids; otherwise vocab.json, merges.txt and tokenizer_config.json make Qwen2's tokenizer
    and CosyVoice2's added tokens follow (151646 .. 151662 in the released checkpoint).
    Raises ModelDirectoryError naming the missing or damaged file.
    """
    ready = blank_en_dir / TOKENIZER_NAME
    if ready.is_file():
        tokenizer = Tokenizer.from_file(str(ready))
    else:
        tokenizer = _qwen2_tokenizer(blank_en_dir)
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in (END_OF_PROMPT, *TAGS)])
    return _mark_control_tokens(tokenizer)


def _qwen2_tokenizer(folder: Path) -> Tokenizer:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise ModelDirectoryError(f"{folder / name} does not exist: download it again")
    model = BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = NFC()
    tokenizer.pre_tokenizer = PreTokenizers(
        [
            Split(Regex(WORD_PATTERN), behavior="isolated"),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
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


def _is_control(token: str) -> bool:
    return token.startswith("<|") and token.endswith("|>")


def _mark_control_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Mark control tokens special and tags not; only the JSON form lets a flag change."""
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        content = token["content"]
        token["special"] = _is_control(content) or (token["special"] and content not in TAGS)
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))

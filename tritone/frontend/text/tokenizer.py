"""Text to the LLM's text ids.

A checkpoint's tokenizer knows two kinds of added tokens. Tags such as [laughter] or <strong> are
part of what a user may write. Control tokens (<|im_start|>, ...) belong to the prompt layout: in
text they are ordinary characters. The tokenizer.json of a model directory says which is which by
the flag `special`, set for control tokens only; ids of speech codes are not in it at all.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from tritone.errors import ModelDirectoryError

TOKENIZER_NAME = "tokenizer.json"


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
            if is_control(token.content) and not token.special:
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
        """Id of a control token such as <|im_start|>; ModelDirectoryError when there is none."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ModelDirectoryError(f"{TOKENIZER_NAME} lacks {token}, which config.json names")
        return int(found)

    def knows(self, character: str) -> bool:
        """Whether the vocabulary holds `character` as a token of its own."""
        try:
            return self._tokenizer.token_to_id(character) is not None
        except UnicodeEncodeError:  # half of a surrogate pair
            return False


def is_control(token: str) -> bool:
    """Whether a token belongs to prompt layouts, such as <|im_start|>, and not to text."""
    return token.startswith("<|") and token.endswith("|>")

"""What the slot engine asks of the language model: prompts are of rows, codes have places."""

from collections.abc import Sequence

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.gpt_config import DrawingConfig, GptConfig
from tritone.families.indextts2.gpt_drawing import drawing_of
from tritone.families.indextts2.gpt_generation import Drawing, seeded_multinomial
from tritone.llm.contract import GenerationRequest, Prompt
from tritone.llm.generation import Stream
from tritone.llm.request_check import check_counts

_TABLES = ("code_embedding", "code_position")


class GptSpeech:
    """`tritone.llm.slots.speech.Speech` for `PairedSlots`. checkpoint: of `.gpt.Gpt`.

    Raises ModelDirectoryError for rows that are not finite.
    """

    def __init__(self, checkpoint: Checkpoint, llm: GptConfig, drawing: DrawingConfig) -> None:
        self.llm, self._drawing = llm, drawing
        self._codes, self._places = map(checkpoint.float32, _TABLES)
        for name, table in zip(_TABLES, (self._codes, self._places), strict=True):
            if not np.isfinite(table).all():
                problem = f"{name} has values that are NaN or infinite"
                raise ModelDirectoryError(f"{checkpoint.path}: {problem}")

    def stream(self, request: GenerationRequest, positions: int) -> Stream:
        prompt = self._opened(self._checked(request, positions))
        config = drawing_of(self._drawing, request.sampling)
        multinomial = seeded_multinomial(request.sampling.seed)
        drawing = Drawing(self.llm, config, multinomial, request.min_tokens)
        most = min(request.max_tokens, self.llm.most_codes)
        return Stream(request, drawing, Prompt(embeddings=prompt), most)

    def rows(self, ids: Int32) -> Float32:
        raise AssertionError("a prompt is of rows alone")

    def last_rows(self, streams: Sequence[Stream]) -> Float32:
        """(n, 2 * width): of the row that draws, and of the one that gives latents."""
        codes = self._codes[[stream.last_id for stream in streams]]
        places = np.array([stream.emitted for stream in streams])
        drawing, latents = (codes + self._places[places + ahead] for ahead in (1, 0))
        return np.concatenate([drawing, latents], axis=1)

    def _opened(self, prompt: Float32) -> Float32:
        """(n, width) of `Prompter` -> (n + 1, width), with the start of speech."""
        start = self._codes[self.llm.start] + self._places[0]
        return np.concatenate([prompt, start[None]])

    def _checked(self, request: GenerationRequest, positions: int) -> Float32:
        """The rows of a prompt; raises InvalidRequest for what cannot be served."""
        width, rows = self.llm.width, request.prompt.embeddings
        if rows is None:
            raise InvalidRequest("input_ids", "this model goes on from prompt_embeddings alone")
        if request.open_text is not None:
            raise InvalidRequest("open_text", "this model cannot add to a prompt")
        most = min(self.llm.most_prompt, positions - 2)  # the start of speech, and a code
        if rows.ndim != 2 or rows.shape[1] != width or not 1 <= len(rows) <= most:
            wanted = f"(n, {width}) with n of 1 to {most}"
            raise InvalidRequest("prompt_embeddings", f"shape {rows.shape}, expected {wanted}")
        if not np.isfinite(rows).all():
            raise InvalidRequest("prompt_embeddings", "has values that are NaN or infinite")
        check_counts(request)
        return rows

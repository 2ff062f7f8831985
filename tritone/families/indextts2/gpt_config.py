"""Numbers of the language model; the defaults are those of the release. It needs no torch."""

from pydantic import Field
from typing_extensions import Self

from tritone.config import Count, Size, Strict

SPEED_ROWS = (1, 0)  # in the order of the prompt: always both, the release has no other speed
HEAD_WIDTH = 64  # of the perceivers, whatever their width


class ConditionerConfig(Strict):
    """A Conformer and a perceiver that sums it up. hidden: of the Conformer's feed-forward layers.
    latents: vectors that are left, of latent_width. expansion: of the perceiver's feed-forward
    layers, of whose units two thirds are kept."""

    width: Size = 512
    hidden: Size = 2048
    heads: Count = 8
    blocks: Count = 6
    latents: Count = 32
    latent_width: Size = 1280
    expansion: Count = 2


class GptConfig(Strict):
    """features: channels of what the conditioners read. codes: of speech; the two ids after them
    start and stop it. text_ids: pieces of the tokenizer, of which the first two start and stop
    text. positions: rows of the tables."""

    features: Size = 1024
    width: Size = 1280
    layers: Count = 24
    heads: Count = 20
    codes: Size = 8192
    code_positions: Size = 1818
    text_ids: Size = 12000
    text_positions: Size = 602
    speaker: ConditionerConfig = ConditionerConfig()
    emotion: ConditionerConfig = ConditionerConfig(
        hidden=1024, heads=4, blocks=4, latents=1, latent_width=1024
    )

    @property
    def start(self) -> int:
        return self.codes

    @property
    def stop(self) -> int:
        return self.codes + 1

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return (self.stop,)

    @property
    def stop_words(self) -> tuple[int, ...]:
        return self.stop_ids

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]:
        """No head tells what is being said."""
        return ()

    @property
    def gives_latents(self) -> bool:
        return True

    @property
    def prompt_ids(self) -> int:
        """A prompt is of rows alone."""
        return 0

    @property
    def speech_offset(self) -> int:
        return 0

    @property
    def speech_codes(self) -> int:
        """Rows of the head that are no end of speech; the start is drawn like a code."""
        return self.stop

    @property
    def hidden_size(self) -> int:
        return self.width

    @property
    def num_hidden_layers(self) -> int:
        return self.layers

    @property
    def num_attention_heads(self) -> int:
        return self.heads

    @property
    def num_key_value_heads(self) -> int:
        return self.heads

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def fewest_prompt(self) -> int:
        """Rows of a prompt without text, which begins and ends all the same."""
        return self.speaker.latents + len(SPEED_ROWS) + 2

    @property
    def most_prompt(self) -> int:
        """Rows of a prompt: the speaker's, the speed's and those of text."""
        return self.speaker.latents + len(SPEED_ROWS) + self.text_positions

    @property
    def most_positions(self) -> int:
        """Of a stream: the longest prompt, the start of speech, and every code but the last."""
        return self.most_prompt + self.most_codes

    @property
    def most_codes(self) -> int:
        """That have a position: decoding leaves out one."""
        return self.code_positions - 2


class DrawingConfig(Strict):
    """How the next code is drawn, in this order. repetition_penalty: a logit of an id that came
    before is divided by it, or multiplied if negative. beams: hypotheses that are kept; streaming
    needs 1."""

    repetition_penalty: float = Field(default=10.0, ge=1.0)
    temperature: float = Field(default=0.8, gt=0.0)
    top_k: Count = 30
    top_p: float = Field(default=0.8, gt=0.0, le=1.0)
    beams: Count = 3

    def with_beams(self, beams: int) -> Self:
        return self.model_copy(update={"beams": beams})

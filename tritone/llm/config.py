"""Numbers of a language model that speaks: its vocabulary, its decoder, how it is sampled."""

from typing import Any, Protocol, cast

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from tritone.config import Count, Size, Strict
from tritone.errors import EnvironmentProblem


class SamplingConfig(Strict):
    """Defaults of the repetition-aware sampling (Chen et al., VALL-E 2)."""

    top_k: int = Field(default=25, ge=1)
    top_p: float = Field(default=0.8, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    repetition_window: int = Field(default=10, ge=0)
    # tau_r: a draw seen window * tau_r times is drawn again
    repetition_threshold: float = Field(default=0.1, ge=0)
    min_tokens_per_text_token: float = Field(default=2.0, ge=0)
    max_tokens_per_text_token: float = Field(default=20.0, gt=0)
    # that any text may take beside those, such as silence at both ends
    tokens_beside: int = Field(default=0, ge=0)


class DecoderConfig(Strict):
    """The numbers of a decoder of the Qwen kind; rope_theta is the base of the rotary angles.

    Digests of built engines depend on their order.
    """

    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    rope_theta: float = Field(gt=0)
    rms_norm_eps: float = Field(gt=0)
    max_position_embeddings: Size


class Qwen2Config(DecoderConfig):
    """Of a Qwen2, whose heads share the hidden size."""

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


class LLMConfig(Qwen2Config):
    """Merged Qwen2 with speech ids appended to the text vocabulary.

    Ids: text 0..speech_offset-1, speech code k at speech_offset + k (k < speech_codes), then the
    stop ids, then what a family's prompts have beside text and speech, unless that is among the
    stop ids; rows up to vocab_size are padding.
    """

    speech_offset: int = Field(ge=0)
    speech_codes: Size
    stop_ids: tuple[int, ...] = Field(min_length=1)  # the first one is the regular end of speech
    # layer and head of the attention heads that look at the text token being spoken, where the
    # checkpoint was trained so
    text_heads: tuple[tuple[int, int], ...] = ()
    # whether min_tokens holds back every stop id; otherwise it is the regular end alone
    all_stops_wait: bool = False

    @model_serializer(mode="wrap")
    def _ids_first(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """All ids come before the decoder's sizes, as digests of built engines have them; what few
        checkpoints have is written for them alone."""
        values = write(self)
        _, *sizes = Qwen2Config.model_fields
        rare = {name for name in ("text_heads", "all_stops_wait") if not getattr(self, name)}
        ids = [name for name in values if name not in {*sizes, *rare}]
        return {name: values[name] for name in (*ids, *sizes)}

    @model_validator(mode="after")
    def _ids_exist(self) -> Self:
        for layer, head in self.text_heads:
            if not (0 <= layer < self.num_hidden_layers and 0 <= head < self.num_attention_heads):
                raise ValueError(f"text_heads names head {head} of layer {layer}: there is none")
        if self.speech_rows.stop > self.vocab_size:
            raise ValueError(
                f"speech and stop ids end at {self.speech_rows.stop}, vocab_size is "
                f"{self.vocab_size}"
            )
        first = self.speech_offset + self.speech_codes
        if sorted(self.stop_ids) != list(range(first, self.speech_rows.stop)):
            raise ValueError(
                f"stop_ids are not the {len(self.stop_ids)} ids from {first} on, which follow the "
                "speech codes"
            )
        return self

    @property
    def speech_head_size(self) -> int:
        """Rows of the speech head: codes and stop ids."""
        return self.speech_codes + len(self.stop_ids)

    @property
    def speech_rows(self) -> slice:
        """Where those stand among the ids."""
        return slice(self.speech_offset, self.speech_offset + self.speech_head_size)

    @property
    def waiting_rows(self) -> slice:
        """Rows of the speech head that may not be drawn before min_tokens."""
        if self.all_stops_wait:
            return slice(self.speech_codes, self.speech_head_size)
        end = self.stop_ids[0] - self.speech_offset
        return slice(end, end + 1)

    @property
    def stop_words(self) -> tuple[int, ...]:
        """The stop ids for runtimes that hold back one id alone, the regular end. Where all have to
        wait, the others are never drawn there: see `tritone.llm.checkpoint.logit_bias`."""
        return self.stop_ids[:1] if self.all_stops_wait else self.stop_ids

    @property
    def prompt_ids(self) -> int:
        """A prompt may have the ids below this one."""
        return self.vocab_size

    @property
    def gives_latents(self) -> bool:
        return False


class SpeechOutput(Protocol):
    """What comes of a language model; names as in `LLMConfig`. gives_latents: whether its own
    states come with the ids, see `tritone.llm.contract.Increment`."""

    @property
    def stop_ids(self) -> tuple[int, ...]: ...

    @property
    def stop_words(self) -> tuple[int, ...]: ...

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def gives_latents(self) -> bool: ...


class SpeechRows(Protocol):
    """What a scheduler of ours reads of a language model; names as in `LLMConfig`."""

    @property
    def speech_offset(self) -> int: ...

    @property
    def speech_codes(self) -> int: ...

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def prompt_ids(self) -> int: ...

    @property
    def gives_latents(self) -> bool: ...


class DecoderSizes(Protocol):
    """What a slot session reads of a decoder; names as in `LLMConfig`."""

    @property
    def hidden_size(self) -> int: ...

    @property
    def num_hidden_layers(self) -> int: ...

    @property
    def num_attention_heads(self) -> int: ...

    @property
    def num_key_value_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def gives_latents(self) -> bool: ...


class SamplingDefaults(Protocol):
    """What a request may set, where it does not."""

    @property
    def temperature(self) -> float: ...

    @property
    def top_p(self) -> float: ...

    @property
    def top_k(self) -> int: ...


class LanguageModelConfig(Protocol):
    """The part of a family's configuration that those read who send prompts to its language model,
    whatever runs it."""

    @property
    def llm(self) -> SpeechOutput: ...

    @property
    def sampling(self) -> SamplingDefaults: ...


class SpokenConfig(Protocol):
    """The same of a language model that runtimes of ours run, and all that they read of it."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def llm(self) -> LLMConfig: ...

    @property
    def sampling(self) -> SamplingConfig: ...


def decoder_config(config: LanguageModelConfig) -> SpokenConfig:
    """Raises EnvironmentProblem for a language model that no engine is built of."""
    if not isinstance(config.llm, LLMConfig):
        raise EnvironmentProblem(
            "this family runs its language model itself, on ONNX Runtime or torch: use --profile "
            "cpu or gpu-torch"
        )
    return cast(SpokenConfig, config)

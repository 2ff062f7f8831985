"""The numbers of a Qwen3 that writes text, and its directory in Hugging Face form."""

from pathlib import Path

from pydantic import Field

from tritone.llm.checkpoint import EMBEDDING, FINAL_NORM, layer_name, read_decoder, weight_shapes
from tritone.llm.config import DecoderConfig

_FIXED = {
    "model_type": ("qwen3", None),
    "hidden_act": ("silu", "silu"),
    "attention_bias": (False, False),
    "use_sliding_window": (False, False),
    "tie_word_embeddings": (True, False),
}


class Qwen3Config(DecoderConfig):
    """Its heads have a width of their own."""

    head_dim: int = Field(ge=16, multiple_of=16)  # what pads another would count in its norm

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]:
        return ()

    @property
    def gives_latents(self) -> bool:
        return False


def read_qwen3(directory: Path) -> Qwen3Config:
    """As `read_decoder`."""
    return read_decoder(directory, Qwen3Config, _FIXED)


def qwen3_shapes(config: Qwen3Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that is read of a checkpoint, and its shape; the head is the embedding."""
    hidden, dim = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * dim, config.num_key_value_heads * dim
    layer = {
        **weight_shapes(hidden, config.intermediate_size, queries, keys),
        "self_attn.q_norm.weight": (dim,),
        "self_attn.k_norm.weight": (dim,),
    }
    return {
        EMBEDDING: (config.vocab_size, hidden),
        FINAL_NORM: (hidden,),
        **{
            layer_name(number, part): shape
            for number in range(config.num_hidden_layers)
            for part, shape in layer.items()
        },
    }

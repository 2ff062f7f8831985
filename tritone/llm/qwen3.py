"""The numbers of a Qwen3 that writes text, and its directory in Hugging Face form."""

from pathlib import Path

from pydantic import Field, ValidationError

from tritone.config import CONFIG_NAME, Count, Size, Strict, problems
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import FINAL_NORM, layer_name
from tritone.plain_json import parse_json

_REQUIRED = {
    "model_type": "qwen3",
    "hidden_act": "silu",
    "attention_bias": False,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "rope_scaling": None,
}
_USUAL = {"attention_bias": False, "use_sliding_window": False}  # where config.json does not say


class Qwen3Config(Strict):
    """Names as in `tritone.llm.config.Qwen2Config`; heads have a width of their own."""

    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: int = Field(ge=16, multiple_of=16)  # what pads another would count in its norm
    rope_theta: float = Field(gt=0)
    rms_norm_eps: float = Field(gt=0)
    max_position_embeddings: Size

    @property
    def text_heads(self) -> tuple[tuple[int, int], ...]:
        return ()


def read_qwen3(directory: Path) -> Qwen3Config:
    """Read DIRECTORY/config.json.

    Raises ModelDirectoryError for a missing number and for a variant of Qwen3 with another graph.
    """
    path = directory / CONFIG_NAME
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist: {directory} is not a Qwen3 directory")
    content = parse_json(path)
    for key, expected in _REQUIRED.items():
        found = content.get(key, _USUAL.get(key))
        if found != expected:
            raise ModelDirectoryError(f"{path}: {key} is {found!r}, only {expected!r} is supported")
    given = {name: content[name] for name in Qwen3Config.model_fields if name in content}
    try:
        return Qwen3Config.model_validate(given)
    except ValidationError as error:
        raise ModelDirectoryError(f"{path}: {problems(error)}") from error


def qwen3_shapes(config: Qwen3Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that is read of a checkpoint, and its shape; the head is the embedding."""
    hidden, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    queries, keys = config.num_attention_heads * dim, config.num_key_value_heads * dim
    layer = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "self_attn.q_norm.weight": (dim,),
        "self_attn.k_norm.weight": (dim,),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    return {
        "model.embed_tokens.weight": (config.vocab_size, hidden),
        FINAL_NORM: (hidden,),
        **{
            layer_name(number, part): shape
            for number in range(config.num_hidden_layers)
            for part, shape in layer.items()
        },
    }

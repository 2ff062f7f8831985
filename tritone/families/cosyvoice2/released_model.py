"""What the released files say of the model: its numbers (of `cosyvoice2.yaml`, and of the weights
where it is silent) and its weights, under our names and in our shapes.

The only place that knows upstream's state-dict keys of `flow.pt` and `hift.pt`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from tritone.acoustic.linear import window_weight
from tritone.acoustic.solver_config import SolverConfig
from tritone.checkpoints.plain_yaml import YamlValues, shown
from tritone.checkpoints.state_keys import Rules, fold_weight_norm, rename
from tritone.config import Size, Strict, problems
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2 import config
from tritone.llm.config import SamplingConfig

StrictT = TypeVar("StrictT", bound=Strict)

_READERS = {
    int: YamlValues.integer,
    float: YamlValues.number,
    tuple[Size, ...]: YamlValues.integers,
    tuple[tuple[Size, ...], ...]: YamlValues.integer_lists,
}


def flow_config(values: YamlValues, keys: Iterable[str]) -> config.FlowConfig:
    """keys: of `flow.pt`; the number of blocks after upsampling stands nowhere else."""
    estimator = ("flow", "decoder", "estimator")
    channels = values.integers(*estimator, "channels")
    if len(channels) != 1:
        raise ModelDirectoryError(
            f"{values.path}: the estimator has channels {list(channels)}; CosyVoice2 has one width"
        )
    blocks = _blocks(keys, "encoder.up_encoders")
    return read_section(
        config.FlowConfig,
        values,
        "flow",
        chunk_size=values.integer("chunk_size"),
        encoder=read_section(
            config.FlowEncoderConfig, values, "flow", "encoder", num_up_blocks=blocks
        ),
        estimator=read_section(config.EstimatorConfig, values, *estimator, channels=channels[0]),
        solver=solver_config(values),
    )


def solver_config(values: YamlValues) -> SolverConfig:
    params = ("flow", "decoder", "cfm_params", "content")
    for name, wanted in (("solver", "euler"), ("t_scheduler", "cosine")):
        found = values.value(*params, name)
        if found != wanted:
            problem = f"{name} is {shown(found)}; only {wanted!r} works"
            raise ModelDirectoryError(f"{values.path}: {problem}")
    return SolverConfig(inference_cfg_rate=values.number(*params, "inference_cfg_rate"))


def vocoder_config(values: YamlValues, free_phase: bool = False) -> config.VocoderConfig:
    return vocoder_section(config.VocoderConfig, values, free_phase=free_phase)


def vocoder_section(model: type[StrictT], values: YamlValues, **given: Any) -> StrictT:
    """The numbers that the vocoders of both generations have, and what of the model is given."""
    return read_section(
        model,
        values,
        "hift",
        istft_n_fft=values.integer("hift", "istft_params", "n_fft"),
        istft_hop=values.integer("hift", "istft_params", "hop_len"),
        f0_channels=values.integer("hift", "f0_predictor", "cond_channels"),
        **given,
    )


def sampling_config(values: YamlValues) -> SamplingConfig:
    """Repetition-aware sampling as the file gives it; its documented values where it does not."""
    where = ("llm", "sampling")
    if not values.has(*where):
        return SamplingConfig()
    return SamplingConfig(
        top_k=values.integer(*where, "top_k"),
        top_p=values.number(*where, "top_p"),
        repetition_window=values.integer(*where, "win_size"),
        repetition_threshold=values.number(*where, "tau_r"),
    )


def read_section(model: type[StrictT], values: YamlValues, *where: str, **given: Any) -> StrictT:
    """A section of the configuration: what is not given stands in the file under its own name."""
    for name, field in model.model_fields.items():
        if name not in given:
            given[name] = _READERS[field.annotation](values, *where, name)  # type: ignore[index]
    try:
        return model(**given)
    except ValidationError as error:
        raise ModelDirectoryError(f"{values.path}: {'.'.join(where)}: {problems(error)}") from error


def _blocks(keys: Iterable[str], name: str) -> int:
    """How many blocks there are below a name."""
    found = (re.match(rf"{re.escape(name)}\.(\d+)\.", key) for key in keys)
    indices = {int(match[1]) for match in found if match}
    if not indices:
        raise ModelDirectoryError(f"flow.pt lacks {name}")
    if indices != set(range(len(indices))):
        raise ModelDirectoryError(f"flow.pt: blocks {sorted(indices)} of {name} are not 0..n")
    return len(indices)


_FLOW: Rules = (
    (r"^input_embedding\.", "token_embedding."),
    (r"^spk_embed_affine_layer\.", "speaker_projection."),
    (r"^encoder_proj\.", "mel_projection."),
    (r"^encoder\.embed\.out\.0\.", "encoder.input.linear."),
    (r"^encoder\.embed\.out\.1\.", "encoder.input.norm."),
    (r"^encoder\.up_embed\.out\.0\.", "encoder.upsampled_input.linear."),
    (r"^encoder\.up_embed\.out\.1\.", "encoder.upsampled_input.norm."),
    (r"^encoder\.pre_lookahead_layer\.conv1\.", "encoder.lookahead.ahead."),
    (r"^encoder\.pre_lookahead_layer\.conv2\.", "encoder.lookahead.back."),
    (r"^encoder\.encoders\.", "encoder.blocks."),
    (r"^encoder\.up_encoders\.", "encoder.upsampled_blocks."),
    (r"^encoder\.up_layer\.conv\.", "encoder.upsample."),
    (r"^encoder\.after_norm\.", "encoder.norm."),
    (r"self_attn\.linear_q\.", "attention.query."),
    (r"self_attn\.linear_k\.", "attention.key."),
    (r"self_attn\.linear_v\.", "attention.value."),
    (r"self_attn\.linear_out\.", "attention.output."),
    (r"self_attn\.linear_pos\.", "attention.position."),
    (r"self_attn\.pos_bias_u", "attention.content_bias"),
    (r"self_attn\.pos_bias_v", "attention.position_bias"),
    (r"\.w_1\.", ".expand."),
    (r"\.w_2\.", ".contract."),
    (r"norm_mha\.", "attention_norm."),
    (r"norm_ff\.", "feed_forward_norm."),
    (r"^decoder\.estimator\.", "estimator."),
    (r"time_mlp\.linear_1\.", "time_expand."),
    (r"time_mlp\.linear_2\.", "time_project."),
    (r"(down|up)_blocks\.0\.2\.", r"\1_conv."),
    (r"(down|up)_blocks\.0\.", r"\1."),
    (r"mid_blocks\.", "middle."),
    (r"(estimator\.(?:down|up|middle\.\d+))\.0\.", r"\1.resnet."),
    (r"(estimator\.(?:down|up|middle\.\d+))\.1\.", r"\1.transformers."),
    (r"\.mlp\.1\.", ".time."),
    (r"\.res_conv\.", ".residual."),
    (r"(block1|block2|final_block)\.block\.0\.", r"\1.conv."),
    (r"(block1|block2|final_block)\.block\.2\.", r"\1.norm."),
    (r"final_proj\.", "final_projection."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm3\.", ".feed_forward_norm."),
    (r"\.attn1\.to_out\.0\.", ".output."),
    (r"\.ff\.net\.0\.proj\.", ".expand."),
    (r"\.ff\.net\.2\.", ".contract."),
)


def flow_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `flow.pt` under the names and in the layouts of `.flow.Flow`.

    Convolutions become matrices of their taps (1x1 ones plain matrices); the three projections of
    each estimator attention become one.
    """
    state = dict(released)
    join_projections(state, ".attn1.to_q.weight", ".query_key_value.weight")
    state = rename(state, _FLOW)
    return {key: window_weight(v) if v.dim() == 3 else v for key, v in state.items()}


def join_projections(state: dict[str, Tensor], query: str, joined: str) -> None:
    """Put the projections to queries, keys and values under one key, where they fit together.

    query: how the keys of the first end; joined: how those of all three end then.
    """
    for first in [key for key in state if key.endswith(query)]:
        parts = [first.replace(".to_q.", f".to_{part}.") for part in "qkv"]
        fits = all(part in state and state[part].dim() for part in parts)
        if fits and len({state[part].shape[1:] for part in parts}) == 1:
            state[first.removesuffix(query) + joined] = torch.cat([state.pop(p) for p in parts])


def vocoder_weights(released: Mapping[str, Tensor], residual_blocks: int) -> dict[str, Tensor]:
    """The tensors of `hift.pt`, weight norm folded, under the names of `.hift.HiFT`.

    residual_blocks: how many follow each upsampling stage.
    """
    rules: Rules = (
        (r"^m_source\.l_linear\.", "mix_source."),
        (r"^f0_predictor\.classifier\.", "f0.output."),
        (r"^f0_predictor\.condnet\.(\d+)\.", lambda m: f"f0.convs.{int(m[1]) // 2}."),
        (r"^ups\.(\d+)\.", r"stages.\1.up."),
        (r"^source_downs\.(\d+)\.", r"stages.\1.source_down."),
        (r"^source_resblocks\.(\d+)\.", r"stages.\1.source_block."),
        (
            r"^resblocks\.(\d+)\.",
            lambda m: "stages.{}.blocks.{}.".format(*divmod(int(m[1]), residual_blocks)),
        ),
        (r"\.convs1\.", ".dilated."),
        (r"\.convs2\.", ".plain."),
        (r"\.activations(1|2)\.", r".snake\1."),
    )
    # checkpoints saved from a GAN trainer have a prefix
    plain = {key.replace("generator.", ""): value for key, value in released.items()}
    return rename(fold_weight_norm(plain, "hift.pt"), rules)

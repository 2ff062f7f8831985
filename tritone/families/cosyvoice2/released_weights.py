"""Names and shapes of CosyVoice2's released weights, mapped to those of `tritone.acoustic`.

The only place that knows upstream's state-dict keys (`flow.pt`, `hift.pt`).
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tritone.acoustic.linear import window_weight
from tritone.errors import ModelDirectoryError

# Pattern and replacement, as `re.sub` takes them.
Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_ENCODER_BLOCK: Rules = (
    (r"self_attn\.linear_(q|k|v|out|pos)\.", r"attention.\1."),
    (r"attention\.q\.", "attention.query."),
    (r"attention\.k\.", "attention.key."),
    (r"attention\.v\.", "attention.value."),
    (r"attention\.out\.", "attention.output."),
    (r"attention\.pos\.", "attention.position."),
    (r"self_attn\.pos_bias_u", "attention.content_bias"),
    (r"self_attn\.pos_bias_v", "attention.position_bias"),
    (r"\.w_1\.", ".expand."),
    (r"\.w_2\.", ".contract."),
    (r"norm_mha\.", "attention_norm."),
    (r"norm_ff\.", "feed_forward_norm."),
)
_ESTIMATOR: Rules = (
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
    *_ENCODER_BLOCK,
    *_ESTIMATOR,
)


def flow_weights(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `flow.pt` under the names and in the layouts of `.flow.Flow`.

    Convolutions become matrices of their taps (1x1 ones plain matrices); the three projections of
    each estimator attention become one.
    """
    state = dict(released)
    for query in [key for key in state if key.endswith(".attn1.to_q.weight")]:
        parts = [query.replace("to_q", f"to_{part}") for part in "qkv"]
        if len({state[part].shape[1:] if part in state else None for part in parts}) == 1:
            joined = torch.cat([state.pop(part) for part in parts])
            state[query.replace("attn1.to_q", "query_key_value")] = joined
    state = _rename(state, _FLOW)
    return {key: window_weight(v) if v.dim() == 3 else v for key, v in state.items()}


def vocoder_weights(released: Mapping[str, Tensor], residual_blocks: int) -> dict[str, Tensor]:
    """The tensors of `hift.pt`, weight norm folded, under the names of `.hift.HiFT`.

    residual_blocks: how many follow each upsampling stage.
    """
    return _rename(fold_weight_norm(released), _vocoder_rules(residual_blocks))


def _vocoder_rules(residual_blocks: int) -> Rules:
    def stage_block(match: "re.Match[str]") -> str:
        index = int(match[1])
        return f"stages.{index // residual_blocks}.blocks.{index % residual_blocks}."

    return (
        (r"^m_source\.l_linear\.", "mix_source."),
        (r"^f0_predictor\.classifier\.", "f0.output."),
        (r"^f0_predictor\.condnet\.(\d+)\.", lambda m: f"f0.convs.{int(m[1]) // 2}."),
        (r"^ups\.(\d+)\.", r"stages.\1.up."),
        (r"^source_downs\.(\d+)\.", r"stages.\1.source_down."),
        (r"^source_resblocks\.(\d+)\.", r"stages.\1.source_block."),
        (r"^resblocks\.(\d+)\.", stage_block),
        (r"\.convs1\.", ".dilated."),
        (r"\.convs2\.", ".plain."),
        (r"\.activations(1|2)\.", r".snake\1."),
    )


def _rename(state: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Apply every rule in order to every key."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace each weight-norm pair by the weight it stands for: g * v / ||v||.

    The norm runs over all dimensions but the first, for transposed convolutions too. Accepts the
    parametrisation names (`parametrizations.weight.original0/1`) and the older `weight_g/_v`, with
    or without the prefix `generator.` of checkpoints saved from a GAN trainer.
    """
    folded = {}
    for name, value in state.items():
        key = name.replace("generator.", "")
        key = key.replace("parametrizations.weight.original0", "weight_g")
        folded[key.replace("parametrizations.weight.original1", "weight_v")] = value
    for key in [k for k in folded if k.endswith(".weight_v")]:
        stem = key.removesuffix("_v")
        direction, magnitude = folded.pop(key), folded.pop(stem + "_g", None)
        norms = (len(direction),) + (1,) * (direction.dim() - 1)
        if magnitude is None or magnitude.shape != norms:
            found = "none" if magnitude is None else str(list(magnitude.shape))
            raise ModelDirectoryError(
                f"hift.pt: weight norm of {stem} needs a magnitude of {list(norms)}, has {found}"
            )
        folded[stem] = torch._weight_norm(direction, magnitude, 0)
    return folded

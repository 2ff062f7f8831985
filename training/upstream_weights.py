"""Our trained modules under the names and in the layouts of upstream's flow.pt and hift.pt.

The way back is `tritone.families.cosyvoice2.released_model`; both together change nothing.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.train_causal_vocoder import TrainedHiFT
from tritone.acoustic.linear import WindowLinear
from tritone.acoustic.rotary import rotary_frequencies
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice3.estimator import INPUTS
from tritone.families.cosyvoice3.flow import FlowNetwork as CosyVoice3Flow
from tritone.families.cosyvoice3.released_flow import FREQUENCIES, INPUT_ORDER

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_ENCODER: Rules = (
    (r"^encoder\.input\.linear\.", "encoder.embed.out.0."),
    (r"^encoder\.input\.norm\.", "encoder.embed.out.1."),
    (r"^encoder\.upsampled_input\.linear\.", "encoder.up_embed.out.0."),
    (r"^encoder\.upsampled_input\.norm\.", "encoder.up_embed.out.1."),
    (r"^encoder\.lookahead\.ahead\.", "encoder.pre_lookahead_layer.conv1."),
    (r"^encoder\.lookahead\.back\.", "encoder.pre_lookahead_layer.conv2."),
    (r"^encoder\.blocks\.", "encoder.encoders."),
    (r"^encoder\.upsampled_blocks\.", "encoder.up_encoders."),
    (r"^encoder\.upsample\.", "encoder.up_layer.conv."),
    (r"^encoder\.norm\.", "encoder.after_norm."),
    (r"\.attention\.content_bias", ".self_attn.pos_bias_u"),
    (r"\.attention\.position_bias", ".self_attn.pos_bias_v"),
    (r"\.attention\.position\.", ".self_attn.linear_pos."),
    (r"\.attention\.output\.", ".self_attn.linear_out."),
    (r"\.attention\.(q|k|v)\w+\.", r".self_attn.linear_\1."),
    (r"\.expand\.", ".w_1."),
    (r"\.contract\.", ".w_2."),
    (r"\.attention_norm\.", ".norm_mha."),
    (r"\.feed_forward_norm\.", ".norm_ff."),
)
_ESTIMATOR: Rules = (
    (r"^estimator\.", "decoder.estimator."),
    (r"\.time_expand\.", ".time_mlp.linear_1."),
    (r"\.time_project\.", ".time_mlp.linear_2."),
    (r"\.(down|up)_conv\.", r".\1_blocks.0.2."),
    (r"\.(down|up)\.", r".\1_blocks.0."),
    (r"\.middle\.", ".mid_blocks."),
    (r"\.resnet\.time\.", ".0.mlp.1."),
    (r"\.resnet\.residual\.", ".0.res_conv."),
    (r"\.resnet\.", ".0."),
    (r"\.transformers\.", ".1."),
    (r"\.(block1|block2|final_block)\.conv\.", r".\1.block.0."),
    (r"\.(block1|block2|final_block)\.norm\.", r".\1.block.2."),
    (r"\.final_projection\.", ".final_proj."),
    (r"\.attention_norm\.", ".norm1."),
    (r"\.feed_forward_norm\.", ".norm3."),
    (r"\.output\.", ".attn1.to_out.0."),
    (r"\.expand\.", ".ff.net.0.proj."),
    (r"\.contract\.", ".ff.net.2."),
)
_FLOW: Rules = (
    (r"^token_embedding\.", "input_embedding."),
    (r"^speaker_projection\.", "spk_embed_affine_layer."),
    (r"^mel_projection\.", "encoder_proj."),
)
_DIT: Rules = (
    *_FLOW[:2],
    (r"^lookahead\.ahead\.", "pre_lookahead_layer.conv1."),
    (r"^lookahead\.back\.", "pre_lookahead_layer.conv2."),
    (r"^estimator\.input\.", "estimator.input_embed.proj."),
    (r"^estimator\.final_time\.", "estimator.norm_out.linear."),
    (r"^estimator\.final_projection\.", "estimator.proj_out."),
    (r"^estimator\.time_expand\.", "estimator.time_embed.time_mlp.0."),
    (r"^estimator\.time_project\.", "estimator.time_embed.time_mlp.2."),
    (r"^estimator\.position\.convs\.0\.", "estimator.input_embed.conv_pos_embed.conv1.0."),
    (r"^estimator\.position\.convs\.1\.", "estimator.input_embed.conv_pos_embed.conv2.0."),
    (r"^estimator\.blocks\.", "estimator.transformer_blocks."),
    (r"\.time\.", ".attn_norm.linear."),
    (r"\.output\.", ".attn.to_out.0."),
    (r"\.expand\.", ".ff.ff.0.0."),
    (r"\.contract\.", ".ff.ff.2."),
    (r"^estimator\.", "decoder.estimator."),
)
_POINTWISE = re.compile(r"\.(resnet\.residual|final_projection)\.weight$")


def flow_state(flow: FlowNetwork) -> dict[str, Tensor]:
    """The tensors of `flow` as flow.pt has them: (out, in, taps) convolutions, q, k and v apart."""
    state = {}
    for key, value in _with_convolutions(flow).items():
        value = value[..., None] if _POINTWISE.search(key) else value
        rules = {"encoder": _ENCODER, "estimator": _ESTIMATOR}.get(key.split(".")[0], _FLOW)
        if key.endswith(".query_key_value.weight"):
            stem = _renamed(key.removesuffix("query_key_value.weight"), rules)
            for part, third in zip("qkv", value.chunk(3), strict=True):
                state[f"{stem}attn1.to_{part}.weight"] = third
        else:
            state[_renamed(key, rules)] = value
    return state


def dit_state(flow: CosyVoice3Flow) -> dict[str, Tensor]:
    """The same of CosyVoice3's flow, whose projections have biases and which keeps its angles."""
    state = {FREQUENCIES: rotary_frequencies(flow.config.estimator.dim_head)}
    for key, value in _with_convolutions(flow).items():
        if key == "estimator.input.weight":
            ours = value.chunk(INPUTS, dim=1)
            value = torch.cat([ours[INPUT_ORDER.index(i)] for i in range(INPUTS)], dim=1)
        stem, joined, name = key.partition(".query_key_value.")
        if joined:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                state[f"{_renamed(stem, _DIT)}.attn.to_{part}.{name}"] = third
        else:
            state[_renamed(key, _DIT)] = value
    return state


def _with_convolutions(flow: nn.Module) -> dict[str, Tensor]:
    """The state with every matrix of taps as (out, in, taps)."""
    state = dict(flow.state_dict())
    for name, module in flow.named_modules():
        if isinstance(module, WindowLinear):
            key = f"{name}.weight"
            state[key] = state[key].unflatten(1, (module.taps, -1)).transpose(1, 2)
    return state


def vocoder_state(network: HiFT | TrainedHiFT) -> dict[str, Tensor]:
    """The tensors of `network` as hift.pt has them, weight norm included.

    The magnitude (original0) is the norm of the direction (original1) as it will be stored in half
    precision, so that folding the two gives that direction back to the last bit.
    """
    plain = network.state_dict()
    rules = _vocoder_rules(len(network.config.resblock_kernel_sizes))
    ordered = sorted(plain, key=lambda key: not key.startswith("mix_source."))  # first upstream too
    state = {}
    for key in ordered:
        renamed, value = _renamed(key, rules), plain[key]
        stem = renamed.removesuffix(".weight")
        if not _is_normed(key, value):
            state[renamed] = value
            continue
        norm = value.half().float().flatten(1).norm(dim=1)
        state[f"{stem}.parametrizations.weight.original0"] = norm.view(-1, 1, 1)
        state[f"{stem}.parametrizations.weight.original1"] = value
    return state


def _is_normed(key: str, value: Tensor) -> bool:
    """Upstream puts weight norm on every convolution but those of the source branch's input."""
    return key.endswith(".weight") and value.ndim == 3 and "source_down" not in key


def _vocoder_rules(residual_blocks: int) -> Rules:
    def residual(match: re.Match[str]) -> str:
        return f"resblocks.{int(match[1]) * residual_blocks + int(match[2])}."

    return (
        (r"^mix_source\.", "m_source.l_linear."),
        (r"^f0\.output\.", "f0_predictor.classifier."),
        (r"^f0\.convs\.(\d+)\.", lambda m: f"f0_predictor.condnet.{2 * int(m[1])}."),
        (r"^stages\.(\d+)\.blocks\.(\d+)\.", residual),
        (r"^stages\.(\d+)\.up\.", r"ups.\1."),
        (r"^stages\.(\d+)\.source_down\.", r"source_downs.\1."),
        (r"^stages\.(\d+)\.source_block\.", r"source_resblocks.\1."),
        (r"\.dilated\.", ".convs1."),
        (r"\.plain\.", ".convs2."),
        (r"\.snake(1|2)\.", r".activations\1."),
    )


def _renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def stored_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state in float16, but for the magnitudes of weight norm and the angles of positions."""
    halves = {}
    for key, value in state.items():
        half = value.detach().contiguous()
        if not key.endswith(("original0", "inv_freq")):
            half = half.half()
        assert torch.isfinite(half).all(), f"{key} has values that are not finite in float16"
        halves[key] = half.clone()
    return halves

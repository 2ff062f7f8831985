"""The numbers of the release between codes and samples: of config.yaml, of the vocoder's
config.json, and of the weights where both are silent."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from tritone.checkpoints.plain_yaml import YamlValues, shown
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.acoustic_config import (
    EstimatorConfig,
    FlowConfig,
    RegulatorConfig,
    VocoderConfig,
)
from tritone.families.indextts2.released_s2mel import FILE
from tritone.families.indextts2.released_sections import check_is, section
from tritone.plain_json import parse_json

Net = Mapping[str, Mapping[str, Tensor]]

_LAYER = re.compile(r"(?:module\.)?(\d+)\.weight$")
_EXPAND = "estimator.transformer.layers.0.feed_forward.w1.weight"
_ESTIMATOR = {
    "width": ("DiT", "hidden_dim"),
    "heads": ("DiT", "num_heads"),
    "depth": ("DiT", "depth"),
    "wavenet_layers": ("wavenet", "num_layers"),
    "wavenet_kernel": ("wavenet", "kernel_size"),
    "wavenet_dilation": ("wavenet", "dilation_rate"),
}
_VOCODER = {
    "mel": "num_mels",
    "channels": "upsample_initial_channel",
    "upsample_rates": "upsample_rates",
    "upsample_kernels": "upsample_kernel_sizes",
    "block_kernels": "resblock_kernel_sizes",
    "block_dilations": "resblock_dilation_sizes",
}
# What our networks are, and no number of theirs says.
_FLOW_IS: dict[tuple[str, ...], object] = {
    ("dit_type",): "DiT",
    ("DiT", "style_condition"): True,
    ("DiT", "final_layer_type"): "wavenet",
    ("DiT", "is_causal"): False,
    ("DiT", "long_skip_connection"): True,
    ("DiT", "uvit_skip_connection"): True,
    ("DiT", "time_as_token"): False,
    ("DiT", "style_as_token"): False,
    ("wavenet", "style_condition"): True,
    ("length_regulator", "is_discrete"): False,
    ("length_regulator", "n_codebooks"): 1,
    ("length_regulator", "f0_condition"): False,
}
_VOCODER_IS = {"resblock": "1", "activation": "snakebeta", "snake_logscale": True}


def flow_config(values: YamlValues, net: Net, codes: int) -> FlowConfig:
    """net: of `s2mel.pth`. codes: of the codebook. Errors are ModelDirectoryError."""
    for keys, wanted in _FLOW_IS.items():
        check_is(values.path, ".".join(("s2mel", *keys)), values.value("s2mel", *keys), wanted)
    regulator = ("s2mel", "length_regulator")
    ratios = values.integers(*regulator, "sampling_ratios")
    if set(ratios) != {1}:
        raise ModelDirectoryError(f"{values.path}: sampling_ratios are {shown(ratios)}, not all 1")
    numbers = {ours: values.integer("s2mel", *keys) for ours, keys in _ESTIMATOR.items()}
    latent = _latent_widths(net)
    return section(
        FlowConfig,
        values.path,
        codes=codes,
        latent_width=latent[0],
        latent_hidden=tuple(latent[1:]),
        style=values.integer("s2mel", "style_encoder", "dim"),
        mel=values.integer("s2mel", "DiT", "in_channels"),
        regulator=section(
            RegulatorConfig,
            values.path,
            in_channels=values.integer(*regulator, "in_channels"),
            channels=values.integer(*regulator, "channels"),
            layers=len(ratios),
        ),
        estimator=section(
            EstimatorConfig,
            values.path,
            feed_forward=len(_matrix(net, "cfm", _EXPAND)),
            **numbers,
        ),
    )


def vocoder_config(path: Path) -> VocoderConfig:
    """Of the vocoder's config.json. Errors are ModelDirectoryError."""
    content = parse_json(path)
    for key, wanted in _VOCODER_IS.items():
        check_is(path, key, content.get(key), wanted)
    numbers = {ours: content.get(theirs) for ours, theirs in _VOCODER.items()}
    return section(
        VocoderConfig,
        path,
        tanh_at_final=content.get("use_tanh_at_final", True),
        bias_at_final=content.get("use_bias_at_final", True),
        **numbers,
    )


def _latent_widths(net: Net) -> list[int]:
    """Inputs of each layer that brings the language model's states to a code's features."""
    layers = sorted(int(m[1]) for key in net.get("gpt_layer", ()) if (m := _LAYER.match(key)))
    if not layers:
        raise ModelDirectoryError(f"{FILE} has no layers in the part gpt_layer")
    return [_matrix(net, "gpt_layer", f"{layer}.weight").shape[1] for layer in layers]


def _matrix(net: Net, part: str, key: str) -> Tensor:
    found = net.get(part, {})
    value = found.get(key, found.get(f"module.{key}"))
    if value is None or value.dim() != 2:
        raise ModelDirectoryError(f"{FILE} has no matrix {key} in the part {part}")
    return value

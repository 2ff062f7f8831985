"""A tiny IndexTTS2 in the layout of the release, whose parts fit one another.

It is put together from golden files, whose tensors are repeated or cut to sizes that agree. It
speaks noise.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from indextts2_front import golden
from indextts2_front_release import numbers, tiny_release
from parity.indextts2_acoustic import released
from safetensors.torch import load_file, save_file
from torch import Tensor

CODES, PIECES, FEATURES, STYLE, CHANNELS = 50, 128, 24, 10, 24
WIDTH = 48  # of the language model
TEXT_POSITIONS, CODE_POSITIONS = 130, 202
BINS, STACKED_BINS = 80, 160
RATES, KERNELS = [16, 16], [32, 32]
LICENCE = "LICENSE.txt"

Sizes = Mapping[str, tuple[int | None, ...]]
"""Of tensors; None keeps what there is."""


def whole_release(folder: Path) -> Path:
    tiny_release(folder)
    for part in (_gpt, _w2v_bert, _codec, _speaker, _s2mel, _bigvgan):
        part(folder)
    content = numbers()
    content["gpt"] |= {"number_text_tokens": PIECES}
    content["semantic_codec"] |= {"codebook_size": CODES}
    content["s2mel"] = _S2MEL
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / LICENCE).write_text("The agreement.", encoding="utf-8")
    return folder


def _gpt(folder: Path) -> None:
    weights = torch.load(folder / "gpt.pth", weights_only=True)["model"]
    sizes: Sizes = {
        "text_embedding.weight": (PIECES + 1, None),
        "text_head.weight": (PIECES + 1, None),
        "text_head.bias": (PIECES + 1,),
        "text_pos_embedding.emb.weight": (TEXT_POSITIONS, None),
        "mel_pos_embedding.emb.weight": (CODE_POSITIONS, None),
    }
    torch.save({"model": resized(weights, sizes)}, folder / "gpt.pth")


def _w2v_bert(folder: Path) -> None:
    place = folder / "hf_cache" / "w2v-bert-2.0"
    sizes: Sizes = {
        "feature_projection.layer_norm.weight": (STACKED_BINS,),
        "feature_projection.layer_norm.bias": (STACKED_BINS,),
        "feature_projection.projection.weight": (None, STACKED_BINS),
    }
    path, about = place / "model.safetensors", place / "config.json"
    save_file(resized(load_file(path), sizes), path)
    content = json.loads(about.read_text()) | {"feature_projection_input_dim": STACKED_BINS}
    about.write_text(json.dumps(content), encoding="utf-8")


def _codec(folder: Path) -> None:
    path = folder / "hf_cache" / "semantic_codec_model.safetensors"
    sizes: Sizes = {"quantizer.quantizers.0.codebook.weight": (CODES, None)}
    save_file(resized(load_file(path), sizes), path)


def _speaker(folder: Path) -> None:
    path = folder / "hf_cache" / "campplus_cn_common.bin"
    weights = torch.load(path, weights_only=True)
    planes = len(weights["head.conv1.weight"])
    sizes: Sizes = {"xvector.tdnn.linear.weight": (None, planes * BINS // 8, None)}
    torch.save(resized(weights, sizes), path)


def _s2mel(folder: Path) -> None:
    flow, regulator = released(golden("dit_cfm")), released(golden("length_regulator"))
    layers = {k for k in regulator if k.startswith("gpt_layer.")}
    hidden = len(flow["estimator.conv1.bias"])
    estimator: Sizes = {
        "estimator.cond_projection.weight": (None, CHANNELS),
        "estimator.cond_x_merge_linear.weight": (None, 2 * BINS + hidden + STYLE),
        "estimator.conv2.weight": (BINS, None, None),
        "estimator.conv2.bias": (BINS,),
        "estimator.skip_linear.weight": (None, hidden + BINS),
        "estimator.x_embedder.weight_v": (None, BINS),
    }
    ends: Sizes = {
        "gpt_layer.0.weight": (None, WIDTH),
        "gpt_layer.2.weight": (FEATURES, None),
        "gpt_layer.2.bias": (FEATURES,),
        "content_in_proj.weight": (None, FEATURES),
    }
    fitted = resized(regulator, ends)
    net = {
        "cfm": resized(flow, estimator),
        "length_regulator": {k: v for k, v in fitted.items() if k not in layers},
        "gpt_layer": {k.removeprefix("gpt_layer."): fitted[k] for k in layers},
    }
    torch.save({"net": net, "epoch": 3}, folder / "s2mel.pth")


def _bigvgan(folder: Path) -> None:
    case, place = golden("bigvgan"), folder / "hf_cache" / "bigvgan"
    place.mkdir()
    content = {**case.about["h"], "num_mels": BINS}
    content |= {"upsample_rates": RATES, "upsample_kernel_sizes": KERNELS}
    (place / "config.json").write_text(json.dumps(content), encoding="utf-8")
    sizes: Sizes = {
        "conv_pre.weight_v": (None, BINS, None),
        **{f"ups.{i}.0.weight_v": (None, None, kernel) for i, kernel in enumerate(KERNELS)},
    }
    torch.save({"generator": resized(released(case), sizes)}, place / "bigvgan_generator.pt")


def resized(state: Mapping[str, Tensor], sizes: Sizes) -> dict[str, Tensor]:
    """All tensors, those that are named repeated and cut to their sizes."""
    assert sizes.keys() <= state.keys(), sizes.keys() - state.keys()
    return {key: _sized(value, sizes.get(key, ())) for key, value in state.items()}


def _sized(value: Tensor, size: tuple[int | None, ...]) -> Tensor:
    for dim, wanted in enumerate(size):
        if wanted is not None:
            times = -(-wanted // value.shape[dim])
            value = torch.cat([value] * times, dim).narrow(dim, 0, wanted)
    return value.clone()


_S2MEL = {
    "dit_type": "DiT",
    "style_encoder": {"dim": STYLE},
    "length_regulator": {
        "channels": CHANNELS,
        "is_discrete": False,
        "in_channels": FEATURES,
        "sampling_ratios": [1, 1, 1, 1],
        "n_codebooks": 1,
        "f0_condition": False,
    },
    "DiT": {
        "hidden_dim": 32,
        "num_heads": 2,
        "depth": 5,
        "in_channels": BINS,
        "style_condition": True,
        "final_layer_type": "wavenet",
        "is_causal": False,
        "long_skip_connection": True,
        "time_as_token": False,
        "style_as_token": False,
        "uvit_skip_connection": True,
    },
    "wavenet": {"num_layers": 3, "kernel_size": 5, "dilation_rate": 1, "style_condition": True},
}

"""The numbers of flow and vocoder, as the release gives them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from indextts2_acoustic import RELEASED_FLOW, RELEASED_VOCODER
from released_checkpoint import released_shapes
from torch import Tensor

from benchmarks.indextts2_release import BIGVGAN, S2MEL
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.acoustic_config import FlowConfig
from tritone.families.indextts2.released_acoustic_numbers import flow_config, vocoder_config


def net(prefix: str = "") -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"cfm": {}, "length_regulator": {}, "gpt_layer": {}}
    for key, value in released_shapes("indextts2_s2mel_keys.tsv").items():
        part, _, name = key.partition(".")
        parts[part][prefix + name] = value
    return parts


def read(
    folder: Path, weights: dict[str, dict[str, Tensor]], *path: str, **change: Any
) -> FlowConfig:
    content = json.loads(json.dumps(S2MEL))
    place = content
    for name in path:
        place = place[name]
    place.update(change)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"s2mel": content}), encoding="utf-8")
    return flow_config(YamlValues(file), weights, 8192)


def read_vocoder(folder: Path, **change: Any) -> Any:
    file = folder / "config.json"
    content = {k: v for k, v in {**BIGVGAN, **change}.items() if v is not None}
    file.write_text(json.dumps(content), encoding="utf-8")
    return vocoder_config(file)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_release_has_the_numbers_that_we_know(tmp_path: Path, prefix: str) -> None:
    assert read(tmp_path, net(prefix)) == RELEASED_FLOW
    assert read_vocoder(tmp_path) == RELEASED_VOCODER


def test_what_the_vocoder_does_not_say_is_as_upstream_has_it(tmp_path: Path) -> None:
    config = read_vocoder(tmp_path, use_tanh_at_final=None, use_bias_at_final=None)
    assert config.tanh_at_final and config.bias_at_final


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        (["DiT"], {"is_causal": True}, r"s2mel\.DiT\.is_causal is True; only False works"),
        (["DiT"], {"final_layer_type": "mlp"}, "final_layer_type is 'mlp'; only 'wavenet' works"),
        (["length_regulator"], {"sampling_ratios": [1, 2]}, r"sampling_ratios are \(1, 2\)"),
        (["DiT"], {"num_heads": 7}, "7 heads of pairs of channels need a multiple of 14"),
        (["wavenet"], {"num_layers": "8"}, r"num_layers is '8' where a whole number belongs"),
        (["style_encoder"], {"dim": 0}, "style: Input should be greater"),
    ],
)
def test_other_networks_are_refused_by_name(
    tmp_path: Path, path: list[str], change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ModelDirectoryError, match=problem):
        read(tmp_path, net(), *path, **change)


def test_weights_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    weights = net()
    weights["gpt_layer"] = {}
    with pytest.raises(ModelDirectoryError, match="no layers in the part gpt_layer"):
        read(tmp_path, weights)
    weights = net()
    weights["cfm"]["estimator.transformer.layers.0.feed_forward.w1.weight"] = torch.zeros(3)
    with pytest.raises(ModelDirectoryError, match=r"no matrix .*w1\.weight in the part cfm"):
        read(tmp_path, weights)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"activation": "snake"}, "activation is 'snake'; only 'snakebeta' works"),
        ({"resblock": "2"}, "resblock is '2'; only '1' works"),
        ({"snake_logscale": None}, "snake_logscale is None; only True works"),
        ({"num_mels": None}, "mel: Input should be"),
        ({"upsample_rates": [4]}, "1 rates and 3 block kernels need as many"),
    ],
)
def test_other_vocoders_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ModelDirectoryError, match=problem):
        read_vocoder(tmp_path, **change)

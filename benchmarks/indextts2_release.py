"""The files of a full-size IndexTTS2 release with random weights, where upstream keeps them."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tritone.acoustic.attention import sinusoid
from tritone.checkpoints.safetensors_file import Part, TensorSpec, write_tensors
from tritone.families.indextts2 import released_files as files
from tritone.families.indextts2.estimator import time_frequencies
from tritone.families.indextts2.reference_config import W2vBertConfig
from tritone.families.indextts2.released_reference import unused_of_codec, unused_of_w2v_bert
from tritone.families.indextts2.snake import lowpass

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
EXAMPLES = (3, 17, 2, 8, 4, 5, 10, 24)  # of each emotion, as released
WIDTH, STYLE = 1280, 192
_STOP_BIAS = -100.0  # random weights should not end a stream
_QUIET = 0.05  # of the vocoder's last layer, so that few samples are cut

Shapes = dict[str, tuple[int, ...]]


def write_release(folder: Path) -> None:
    """6.1 GB on the disk; config.yaml comes last, so a folder that has it is complete.

    What nothing reads of w2v-bert and of the codec is there as holes. The weights of one file at a
    time are in memory, at most 3.5 GB.
    """
    generator = torch.Generator().manual_seed(0)
    for name in (files.W2V_BERT, files.BIGVGAN):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    gpt = _drawn("gpt", generator)
    gpt["mel_head.bias"][-1] = _STOP_BIAS
    torch.save({"model": gpt}, folder / files.GPT)
    del gpt
    layers = W2vBertConfig().layers
    _mapped(folder / files.W2V_BERT, "w2v_bert", lambda k: unused_of_w2v_bert(k, layers), generator)
    _mapped(folder / files.CODEC, "codec", unused_of_codec, generator)
    torch.save(_drawn("speaker", generator), folder / files.SPEAKER)
    net: dict[str, dict[str, Tensor]] = {}
    for key, value in _drawn("s2mel", generator).items():
        part, _, name = key.partition(".")
        net.setdefault(part, {})[name] = value
    torch.save({"net": net}, folder / files.S2MEL)
    torch.save({"generator": _drawn("bigvgan", generator)}, folder / files.BIGVGAN)
    _small_files(folder, generator)


def _small_files(folder: Path, generator: torch.Generator) -> None:
    statistics = {"mean": torch.zeros(1024), "var": torch.ones(1024)}
    torch.save(statistics, folder / files.STATISTICS)
    for name, width in ((files.EMOTION_STYLES, STYLE), (files.EMOTION_VECTORS, WIDTH)):
        torch.save(torch.randn(sum(EXAMPLES), width, generator=generator), folder / name)
    shutil.copyfile(GOLDEN / "indextts2" / "pieces.model", folder / files.PIECES)
    numbers = {
        files.W2V_BERT_NUMBERS: _W2V_BERT,
        files.BIGVGAN_NUMBERS: BIGVGAN,
        files.YAML: _YAML,  # JSON is YAML too
    }
    for name, content in numbers.items():
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


def _listed(name: str) -> Shapes:
    table = GOLDEN / "release" / f"indextts2_{name}_keys.tsv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["key"]: tuple(json.loads(row["shape"])) for row in rows}


def _drawn(name: str, generator: torch.Generator) -> dict[str, Tensor]:
    return {k: _value(k, shape, generator) for k, shape in tqdm(_listed(name).items(), name)}


def _mapped(path: Path, name: str, unused: Any, generator: torch.Generator) -> None:
    """A safetensors file."""
    specs = [TensorSpec(key, "F32", shape) for key, shape in _listed(name).items()]

    def parts() -> Iterator[list[Part]]:
        for spec in tqdm(specs, name):
            hole = unused(spec.name)
            yield [spec.nbytes if hole else _value(spec.name, spec.shape, generator).numpy()]

    write_tensors(path, specs, parts())


def _value(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Of a size that keeps what is computed finite, and what conversion checks as it has to be."""
    kind = key.rpartition(".")[2]
    if kind == "pe":
        return sinusoid(shape[1] - 1, 0, shape[2]).flip(0)[None]
    if kind == "freqs":
        return time_frequencies()
    if kind == "filter":
        return lowpass().clone().reshape(shape)
    if kind in ("num_batches_tracked", "input_pos"):
        return torch.zeros(shape, dtype=torch.int64)
    if kind in ("bias", "alpha", "beta", "running_mean"):
        return torch.zeros(shape)
    if kind in ("weight_g", "running_var", "gamma") or len(shape) == 1:
        return torch.full(shape, _QUIET if key.startswith("conv_post") else 1.0)
    value = torch.randn(shape, generator=generator)
    return value.mul_(value[0].numel() ** -0.5)


S2MEL: dict[str, Any] = {
    "dit_type": "DiT",
    "style_encoder": {"dim": STYLE},
    "length_regulator": {
        "channels": 512,
        "is_discrete": False,
        "in_channels": 1024,
        "sampling_ratios": [1, 1, 1, 1],
        "n_codebooks": 1,
        "f0_condition": False,
    },
    "DiT": {
        "hidden_dim": 512,
        "num_heads": 8,
        "depth": 13,
        "in_channels": 80,
        "style_condition": True,
        "final_layer_type": "wavenet",
        "is_causal": False,
        "long_skip_connection": True,
        "time_as_token": False,
        "style_as_token": False,
        "uvit_skip_connection": True,
    },
    "wavenet": {
        "num_layers": 8,
        "kernel_size": 5,
        "dilation_rate": 1,
        "style_condition": True,
    },
}
_CONDITIONER = {"output_size": 512, "input_layer": "conv2d2", "perceiver_mult": 2}
_YAML: dict[str, Any] = {
    "gpt": {
        "model_dim": WIDTH,
        "layers": 24,
        "heads": 20,
        "number_text_tokens": 12000,
        "number_mel_codes": 8194,
        "start_mel_token": 8192,
        "stop_mel_token": 8193,
        "start_text_token": 0,
        "stop_text_token": 1,
        "condition_type": "conformer_perceiver",
        "condition_module": {
            **_CONDITIONER,
            "linear_units": 2048,
            "attention_heads": 8,
            "num_blocks": 6,
        },
        "emo_condition_module": {
            **_CONDITIONER,
            "linear_units": 1024,
            "attention_heads": 4,
            "num_blocks": 4,
        },
    },
    "semantic_codec": {
        "codebook_size": 8192,
        "hidden_size": 1024,
        "codebook_dim": 8,
        "vocos_dim": 384,
        "vocos_intermediate_dim": 2048,
        "vocos_num_layers": 12,
    },
    "emo_num": list(EXAMPLES),
    "s2mel": S2MEL,
}
_W2V_BERT = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feature_projection_input_dim": 160,
    "hidden_act": "swish",
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
    "conv_depthwise_kernel_size": 31,
}
BIGVGAN: dict[str, Any] = {
    "resblock": "1",
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "upsample_initial_channel": 1536,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "activation": "snakebeta",
    "snake_logscale": True,
    "num_mels": 80,
}

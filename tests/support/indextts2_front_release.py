"""A tiny release of IndexTTS2 before the flow, put together from golden files."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from indextts2_front import GOLDEN, golden
from parity.indextts2_reference import weights_of
from safetensors.torch import save_file
from torch import Tensor

LAYERS = 18  # of w2v-bert, one more than is read
EXAMPLES = (1, 2, 1, 1, 1, 1, 1, 1)  # of each emotion


def tiny_release(folder: Path) -> Path:
    for part in (_gpt, _w2v_bert, _codec_and_speaker, _text, _emotions):
        part(folder)
    return folder


def numbers() -> dict[str, Any]:
    """What is in config.yaml."""
    gpt, codec = (golden(name).about["config"] for name in ("gpt", "semantic_codec"))
    return {
        "gpt": {
            "model_dim": gpt["D"],
            "layers": gpt["L"],
            "heads": gpt["H"],
            "number_text_tokens": gpt["VT"],
            "number_mel_codes": gpt["VM"],
            "start_mel_token": gpt["VM"] - 2,
            "stop_mel_token": gpt["VM"] - 1,
            "start_text_token": 0,
            "stop_text_token": 1,
            "condition_type": "conformer_perceiver",
            "condition_module": gpt["cond"],
            "emo_condition_module": gpt["emo"],
        },
        "semantic_codec": codec,
        "emo_num": list(EXAMPLES),
    }


def _gpt(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(numbers()), encoding="utf-8")
    weights = weights_of(golden("gpt"))
    for key in [key for key in weights if key.endswith("embed.out.0.weight")]:
        weights[key] = _of_fewer_features(weights[key])
    torch.save({"model": weights}, folder / "gpt.pth")


def _of_fewer_features(weight: Tensor) -> Tensor:
    """As the golden w2v-bert has: 24 of them, halved to 11 by a convolution."""
    width = len(weight)
    return weight.view(width, width, -1)[:, :, :11].flatten(1).contiguous()


def _w2v_bert(folder: Path) -> None:
    case, place = golden("w2v_bert"), folder / "hf_cache" / "w2v-bert-2.0"
    place.mkdir(parents=True)
    config, weights = dict(case.about["config"]), weights_of(case)
    known = config["num_hidden_layers"]
    for layer in range(known, LAYERS):
        of_layer = re.compile(rf"^encoder\.layers\.{layer % known}\.")
        copies = {of_layer.sub(f"encoder.layers.{layer}.", k): v for k, v in weights.items()}
        weights |= {key: value.clone() for key, value in copies.items() if key not in weights}
    config["num_hidden_layers"] = LAYERS
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, place / "model.safetensors")
    statistics = {"mean": case["stat_mean"], "var": case["stat_var"]}
    torch.save(statistics, folder / "wav2vec2bert_stats.pt")


def _codec_and_speaker(folder: Path) -> None:
    cache = folder / "hf_cache"
    save_file(weights_of(golden("semantic_codec")), cache / "semantic_codec_model.safetensors")
    torch.save(weights_of(golden("campplus")), cache / "campplus_cn_common.bin")


def _text(folder: Path) -> None:
    shutil.copy(GOLDEN / "pieces.model", folder / "bpe.model")
    glossary = {"NVMe": "N-V-M-E", "C++": {"en": "C plus plus", "zh": "C 加加"}}
    text = yaml.safe_dump(glossary, allow_unicode=True)
    (folder / "glossary.yaml").write_text(text, encoding="utf-8")


def _emotions(folder: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    widths = {"feat1.pt": ("campplus", "embedding_size"), "feat2.pt": ("gpt", "D")}
    for name, (case, number) in widths.items():
        width = golden(case).about["config"][number]
        torch.save(torch.randn(sum(EXAMPLES), width, generator=generator), folder / name)

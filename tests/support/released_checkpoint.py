"""A tiny checkpoint in the layout of the release, put together from golden files."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from paths import GOLDEN
from safetensors.torch import load_file
from torch import Tensor

TOKEN2WAV = GOLDEN / "token2wav"
FRONTEND = GOLDEN / "llm_frontend"
VOICES = ("spk2info_upstream.pt", "spk2info_async.pt")


def released_checkpoint(folder: Path, *, hift: str = "hift.pt", merged: bool = False) -> Path:
    """Write the files of a release: with llm.pt, or with a merged language model in its place."""
    folder.mkdir(parents=True)
    tiny = TOKEN2WAV / "tiny_checkpoint"
    shutil.copy(tiny / "cosyvoice2.yaml", folder)
    shutil.copy(tiny / hift, folder / "hift.pt")
    torch.save(load_file(TOKEN2WAV / "flow_weights.safetensors"), folder / "flow.pt")
    shutil.copytree(FRONTEND / "llm_tiny" / "CosyVoice-BlankEN", folder / "CosyVoice-BlankEN")
    if merged:
        shutil.copytree(FRONTEND / "llm_tiny" / "merged_hf", folder / "cosyvoice2_llm")
    else:
        shutil.copy(FRONTEND / "llm_tiny" / "llm.pt", folder)
    for name in ("speech_tokenizer_v2.onnx", "campplus.onnx"):
        shutil.copy(GOLDEN / "tiny_onnx" / name, folder)
    shutil.copy(FRONTEND / VOICES[0], folder / "spk2info.pt")
    return folder


def change_state(path: Path, **changes: Any) -> None:
    """Set entries of a state dict file; None removes one. Dots in names are given as __."""
    state = torch.load(path, weights_only=True)
    for name, value in changes.items():
        key = name.replace("__", ".")
        if value is None:
            del state[key]
        else:
            state[key] = value
    torch.save(state, path)


def released_shapes(name: str) -> dict[str, Tensor]:
    """The tensors of the released CosyVoice2-0.5B that a list in golden/release names, without
    their values."""
    with (GOLDEN / "release" / name).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {row["key"]: torch.empty(json.loads(row["shape"]), device="meta") for row in rows}

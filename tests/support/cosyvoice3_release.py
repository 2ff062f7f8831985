"""A tiny CosyVoice3 in the layout of the release, put together from golden files."""

import shutil
from pathlib import Path

import torch
from paths import GOLDEN
from safetensors.torch import load_file
from torch import Tensor

FOLDER = GOLDEN / "cosyvoice3"
FRONTEND = GOLDEN / "llm_frontend"


def cosyvoice3_release(folder: Path, *, fits: bool = True) -> Path:
    """Write the files of a release.

    fits: with the codes and the speaker vectors of the language model and the front end repeated in
    the flow, which the golden one has fewer of.
    """
    folder.mkdir(parents=True)
    yaml = (FOLDER / "cosyvoice3.yaml").read_text(encoding="utf-8")
    flow = load_file(FOLDER / "flow_weights.safetensors")
    if fits:
        yaml = yaml.replace("vocab_size: 97", "vocab_size: 6561")
        yaml = yaml.replace("spk_embed_dim: 24", "spk_embed_dim: 192")
        flow["input_embedding.weight"] = _repeated(flow["input_embedding.weight"], 6561, 0)
        speaker = "spk_embed_affine_layer.weight"
        flow[speaker] = _repeated(flow[speaker], 192, 1)
    (folder / "cosyvoice3.yaml").write_text(yaml, encoding="utf-8")
    torch.save(flow, folder / "flow.pt")
    torch.save(load_file(FOLDER / "hift_weights.safetensors"), folder / "hift.pt")
    shutil.copytree(FRONTEND / "llm_tiny" / "CosyVoice-BlankEN", folder / "CosyVoice-BlankEN")
    shutil.copy(
        FOLDER / "llm_tiny" / "CosyVoice-BlankEN" / "config.json", folder / "CosyVoice-BlankEN"
    )
    shutil.copy(FOLDER / "llm_tiny" / "llm.pt", folder)
    onnx = GOLDEN / "tiny_onnx"
    shutil.copy(onnx / "speech_tokenizer_v2.onnx", folder / "speech_tokenizer_v3.onnx")
    shutil.copy(onnx / "campplus.onnx", folder)
    shutil.copy(FRONTEND / "spk2info_upstream.pt", folder / "spk2info.pt")
    return folder


def _repeated(weight: Tensor, size: int, dim: int) -> Tensor:
    times = -(-size // weight.shape[dim])
    return torch.cat([weight] * times, dim).narrow(dim, 0, size).contiguous()

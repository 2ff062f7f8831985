"""The embedded voice with the weights of one network changed; all else is linked."""

from collections.abc import Callable
from pathlib import Path

import torch
from paths import EMBEDDED
from safetensors.torch import load_file, save_file
from torch import Tensor

Weights = dict[str, Tensor]
Change = Callable[[Weights], object]
VOCODER, FLOW, LANGUAGE_MODEL = "vocoder.safetensors", "flow.safetensors", "llm/model.safetensors"


def damaged(folder: Path, file: str, change: Change) -> Path:
    """A model directory below `folder`."""
    model = folder / "damaged"
    _link_all(EMBEDDED, model, besides=file.split("/")[0])
    if "/" in file:  # what was built of the network is built anew
        _link_all(EMBEDDED / "llm", model / "llm", besides="model.safetensors", built="onnx")
    weights = load_file(EMBEDDED / file)
    change(weights)
    save_file(weights, model / file, metadata={"format": "pt"})
    return model


def _link_all(source: Path, target: Path, besides: str, built: str = "") -> None:
    target.mkdir()
    for path in source.iterdir():
        if path.name not in (besides, built):
            (target / path.name).symlink_to(path)


def scaled(name: str, factor: float) -> Change:
    """In float32: the largest of float16 do not overflow on their way through a network."""
    return lambda weights: weights.update({name: weights[name].float() * factor})


def shuffled(every: int) -> Change:
    """Every so many matrices have their values in another order."""

    def change(weights: Weights) -> None:
        draw = torch.Generator().manual_seed(0)
        for name in sorted(n for n, w in weights.items() if w.ndim >= 2)[::every]:
            flat = weights[name].flatten()
            order = torch.randperm(len(flat), generator=draw)
            weights[name] = flat[order].reshape(weights[name].shape)

    return change


def random_head(weights: Weights) -> None:
    head = weights["lm_head.weight"].float()
    drawn = torch.randn(head.shape, generator=torch.Generator().manual_seed(0)) * head.std()
    weights["lm_head.weight"] = drawn.to(weights["lm_head.weight"].dtype)

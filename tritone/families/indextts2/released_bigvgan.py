"""The weights of the released `bigvgan_generator.pt`, under our names; its only reader."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tritone.checkpoints.state_keys import Rules, fold_weight_norm, rename
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.snake import TAPS, lowpass

FILE = "bigvgan_generator.pt"
_FILTER = re.compile(r"\.(upsample|downsample\.lowpass)\.filter$")
_SMALL = 1e-9  # upstream's guard of its division


def vocoder_weights(released: Mapping[str, Tensor], residual_blocks: int) -> dict[str, Tensor]:
    """The tensors of the part `generator` under the names of `.bigvgan.BigVGAN`, weight norm folded
    and the snakes' logarithms taken back.

    residual_blocks: how many follow each upsampling. Raises ModelDirectoryError for filters that
    are not ours, which are computed; whether the rest fits is for `check_fit` to say.
    """

    def block(match: re.Match[str]) -> str:
        return "stages.{}.blocks.{}.".format(*divmod(int(match[1]), residual_blocks))

    def activation(match: re.Match[str]) -> str:
        layer, place = divmod(int(match[1]), 2)
        return f".snakes{place + 1}.{layer}."

    rules: Rules = (
        (r"^conv_pre\.", "input."),
        (r"^conv_post\.", "output."),
        (r"^activation_post\.", "snake."),
        (r"^ups\.(\d+)\.0\.", r"stages.\1.up."),
        (r"^resblocks\.(\d+)\.", block),
        (r"\.convs1\.", ".dilated."),
        (r"\.convs2\.", ".plain."),
        (r"\.activations\.(\d+)\.", activation),
        (r"\.act\.alpha$", ".frequency"),
        (r"\.act\.beta$", ".gain"),
    )
    for key in released:
        if _FILTER.search(key):
            _check_filter(key, released[key])
    kept = {key: value for key, value in released.items() if not _FILTER.search(key)}
    state = rename(fold_weight_norm(kept, FILE), rules)
    for key, value in state.items():
        if key.endswith(".frequency"):
            state[key] = value.exp()
        elif key.endswith(".gain"):
            state[key] = 1 / (value.exp() + _SMALL)
    return state


def _check_filter(key: str, found: Tensor) -> None:
    if found.numel() == TAPS and torch.allclose(found.flatten().float(), lowpass(), atol=1e-6):
        return
    shown = ", ".join(f"{value:.4f}" for value in found.flatten()[:3].tolist())
    raise ModelDirectoryError(
        f"{FILE}: {key} is {list(found.shape)} of {shown} ..; it must be the low-pass of {TAPS} "
        "taps that BigVGAN v2 has"
    )

"""The tensors of `hift.pt` under our names and in our shapes."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from tritone.families.cosyvoice2 import released_model
from tritone.families.cosyvoice3.config import VocoderConfig


def vocoder_weights(released: Mapping[str, Tensor], config: VocoderConfig) -> dict[str, Tensor]:
    """As `.hift.HiFT` has them; the errors of CosyVoice2's, whose names the release keeps.

    The pitch predictor's are float64 before its weight norm is folded, as upstream computes it.
    """
    wide = {k: v.double() if "f0_predictor." in k else v for k, v in released.items()}
    weights = released_model.vocoder_weights(wide, len(config.resblock_kernel_sizes))
    for index, rate in enumerate(config.upsample_rates):
        name = f"stages.{index}.up.weight"
        if name in weights:
            weights[name] = over_repeated(weights[name], rate)
    return weights


def over_repeated(weight: Tensor, rate: int) -> Tensor:
    """(out, in, kernel) of a convolution over values that are repeated `rate` times -> (in, out,
    kernel + rate - 1) of the transposed convolution over the values themselves.

    A value meets each output with the taps that its repetitions meet, summed.
    """
    taps = F.pad(weight.double().flip(-1), (rate - 1, rate - 1))
    return taps.unfold(-1, rate, 1).sum(-1).transpose(0, 1).to(weight).contiguous()

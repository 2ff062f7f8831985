"""Activations of which torch's own kernel is slow on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tritone.acoustic.linear import is_traced

_LINEAR_FROM = 20.0  # where x tanh(log(1 + exp x)) is x, to the last bit of float32


def mish(x: Tensor) -> Tensor:
    """x tanh(log(1 + exp x)) (Misra, 2019).

    With n = exp x (exp x + 2) that is x n / (n + 2), which takes one exponential; torch's kernel
    takes three of these functions, and up to six times as long.
    """
    if x.device.type != "cpu" or x.requires_grad or is_traced():
        return F.mish(x)
    wide = x.float()
    power = wide.clamp(max=_LINEAR_FROM).exp_()
    share = torch.addcmul(power, power, power, value=0.5)  # n / 2
    return wide.mul(share.div(share + 1)).to(x.dtype)

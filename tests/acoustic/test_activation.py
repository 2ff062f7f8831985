"""Activations as torch has them."""

import torch
import torch.nn.functional as F

from tritone.acoustic.activation import mish


def test_mish_is_torch_s() -> None:
    x = torch.cat([torch.linspace(-120, 120, 4001), torch.tensor([0.0, -1e30, 1e30])])
    wanted = F.mish(x.double())
    torch.testing.assert_close(mish(x).double(), wanted, atol=1e-6, rtol=1e-6)
    short = mish(x.bfloat16())
    assert short.dtype is torch.bfloat16
    torch.testing.assert_close(short.double(), F.mish(x.bfloat16().double()), atol=1e-3, rtol=4e-3)


def test_mish_has_a_gradient() -> None:
    x = torch.linspace(-3, 3, 7, requires_grad=True)
    mish(x).sum().backward()
    wanted = x.detach().clone().requires_grad_()
    F.mish(wanted).sum().backward()
    assert torch.equal(x.grad, wanted.grad)

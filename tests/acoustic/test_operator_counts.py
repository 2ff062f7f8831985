"""What a GPU is asked for, counted on full-size shapes without values."""

import pytest
import torch
from operators import Operators

from benchmarks.full_size import COSYVOICE2, COSYVOICE3
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import EulerSolver, SolverSettings
from tritone.families.cosyvoice2 import estimator as cosyvoice2
from tritone.families.cosyvoice3 import estimator as cosyvoice3


@pytest.mark.parametrize(
    ("config", "module", "fused", "chained", "count"),
    [
        (COSYVOICE2.flow, cosyvoice2, False, False, 962),
        (COSYVOICE2.flow, cosyvoice2, True, False, 339),
        (COSYVOICE2.flow, cosyvoice2, True, True, 340),
        (COSYVOICE3.flow, cosyvoice3, False, False, 467),
        (COSYVOICE3.flow, cosyvoice3, False, True, 472),
        (COSYVOICE3.flow, cosyvoice3, True, False, 222),
        (COSYVOICE3.flow, cosyvoice3, True, True, 227),
    ],
)
@torch.inference_mode()
def test_operators_of_an_euler_step(config, module, fused: bool, chained: bool, count: int) -> None:
    """Of all that one graph replays, by Euler steps: the masks, positions and indices of its steps
    are computed once, and nothing goes to or comes from the host."""
    with torch.device("meta"):
        estimator = module.Estimator(config).to("meta", torch.bfloat16)
        steps = config.solver.model_copy(update={"n_timesteps": 2})
        euler = EulerSolver(estimator, steps, SolverSettings(left_chunks=6))
        solver = PagedSolver(euler, pages=16, streams=4, batch=8, fused=fused)
        with Operators() as operators:
            solver._advance(8, 16, chained)
    assert -(-operators.launched.total() // len(euler.steps)) == count
    assert not operators.synchronised
    assert not fused or operators.launched["paged_attention"]
    assert operators.launched["masked_fill"] == operators.launched["ge"] == (not fused)
    assert operators.launched["cos"] <= 1

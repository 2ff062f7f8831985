"""What is before the flow against upstream's numbers."""

import pytest
import torch
from indextts2_front import golden
from parity.indextts2_front import CASES


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    with torch.inference_mode():
        results = list(CASES[name](golden(name)))
    assert len(results) >= 2
    assert not [result for result in results if not result.passed]

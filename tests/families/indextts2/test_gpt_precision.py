"""What int8 weights change of the language model's latents and logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_front import golden, tiny_gpt
from parity.gpt_sessions import generate, onnx_session
from parity.indextts2_gpt import Given

from tritone.arrays import Float32
from tritone.families.indextts2.gpt import Gpt


def spoken(gpt: Gpt, folder: Path, precision: str) -> tuple[Float32, Float32]:
    """Latents and logits of codes that are given."""
    folder.mkdir()
    case = golden("gpt")
    codes = case["tf_codes"][0].tolist()
    given = Given(gpt.config, codes)
    session = onnx_session(gpt, folder, precision)
    said = list(generate(session, gpt, case["prefix_embeds"], given, len(codes)))
    return np.stack([one.latent for one in said]), torch.stack(given.logits).numpy()


@pytest.mark.parametrize(
    ("precision", "most"), [("int8", 0.03), ("int8_rows", 0.03), ("int4_mixed", 0.5)]
)
def test_rounded_weights_stay_near_and_are_rounded(
    tmp_path: Path, precision: str, most: float
) -> None:
    """Relative error of the whole; a tiny network has more of it than a wide one."""
    with torch.inference_mode():
        gpt, _ = tiny_gpt()
    exact = spoken(gpt, tmp_path / "exact", "fp32")
    rounded = spoken(gpt, tmp_path / "rounded", precision)
    for found, expected in zip(rounded, exact, strict=True):
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        assert 1e-4 < error < most

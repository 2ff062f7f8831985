"""The tiny golden networks of IndexTTS2 before the flow."""

import paths
from parity.golden import Golden
from parity.indextts2_gpt import load_gpt, prompt_of
from torch import Tensor

from tritone.families.indextts2.gpt import Gpt

GOLDEN = paths.GOLDEN / "indextts2"


def golden(name: str) -> Golden:
    return Golden(GOLDEN, name)


def tiny_gpt() -> tuple[Gpt, Tensor]:
    """With a prompt."""
    case = golden("gpt")
    gpt = load_gpt(case)
    return gpt, prompt_of(case, gpt)

"""The tiny golden networks of IndexTTS2 before the flow."""

import paths
from parity.golden import Golden
from parity.indextts2_gpt import load_conditioning, load_gpt, load_prompter
from torch import Tensor

from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_prompter import Prompter

GOLDEN = paths.GOLDEN / "indextts2"


def golden(name: str) -> Golden:
    return Golden(GOLDEN, name)


def tiny_gpt() -> tuple[Gpt, Tensor]:
    """With a prompt."""
    case = golden("gpt")
    return load_gpt(case), case["prefix_embeds"]


def tiny_prompter() -> Prompter:
    return load_prompter(golden("gpt"))


def tiny_conditioning() -> Conditioning:
    return load_conditioning(golden("gpt"))

"""What a language model gives by fused operators, compared with what it gives by torch's own."""

import numpy as np
import torch

from tritone import kernel_choice
from tritone.arrays import Float32
from tritone.compute import on_device
from tritone.llm.sampler import Draw
from tritone.llm.torch.decoder import FusedDecoder
from tritone.llm.torch.drawing import Drawing, FusedDrawing
from tritone.llm.torch.fused_slots import FusedSlots
from tritone.llm.torch.slots import TorchSlots

_PROMPT, _STEPS, _ROWS = 80, 2, 32


def choose(asked: str, decoder: FusedDecoder) -> bool:
    """As `tritone.kernel_choice.choose`, of a language model."""
    device, dtype = decoder.device, decoder.dtype
    return kernel_choice.choose(
        asked, "the language model", device, dtype, lambda: difference(decoder)
    )


@torch.inference_mode()
def difference(decoder: FusedDecoder) -> float:
    """Of the logits of a prompt and two steps after it to those by torch's operators, as a share;
    or the share of tokens that are drawn otherwise from the same logits, if it is larger."""
    with on_device(decoder.device):
        try:
            plain, fused = (_logits(kind, decoder) for kind in (TorchSlots, FusedSlots))
            apart = float(np.linalg.norm(fused - plain) / np.linalg.norm(plain))
            return max(apart, _drawn_otherwise(decoder))
        finally:
            if decoder.device.type == "cuda":
                torch.cuda.empty_cache()


def _logits(kind: type[TorchSlots], decoder: FusedDecoder) -> Float32:
    """Of differences between tokens: what all have in common says nothing."""
    session = kind(decoder, slots=2, slot_length=_PROMPT + _STEPS, window=None)
    shape = (2, _PROMPT + _STEPS, decoder.config.hidden_size)
    embeds = np.random.default_rng(0).normal(scale=0.02, size=shape).astype(np.float32)
    found = [session.prefill(slot, embeds[slot, :_PROMPT]) for slot in range(2)]
    for place in range(_PROMPT, _PROMPT + _STEPS):
        found += list(session.decode(embeds[:, place], np.full(2, place, np.int32)).copy())
    logits = np.stack(found)
    logits -= logits.mean(axis=1, keepdims=True)
    return logits


def _drawn_otherwise(decoder: FusedDecoder) -> float:
    draw = np.random.default_rng(0)
    uniforms = draw.random((_ROWS, 2)).tolist()
    asked = [Draw(25, 0.8, 1.0, (one, other), 1.0, True, (1, 2)) for one, other in uniforms]
    logits = torch.from_numpy(draw.normal(scale=2, size=(_ROWS, decoder.rows)).astype(np.float32))
    logits[:, 1] += 8  # some are drawn twice
    tokens = []
    for kind in (Drawing, FusedDrawing):
        drawing = kind(_ROWS, decoder.waiting, 2, decoder.device)
        drawing.prepare(asked)
        tokens.append(drawing(logits.to(decoder.device))[:, 0])
    return float((tokens[0] != tokens[1]).float().mean())

"""The language model of IndexTTS2 as it is served, one stream at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tritone.arrays import Float32
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_graph import GptGraph
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.gpt_torch import TorchGpt
from tritone.llm.generation import TokenSampler
from tritone.llm.onnx.graph import build
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.torch.slots import TorchSlots


class Spoken(NamedTuple):
    """latent: (width,)."""

    code: int
    latent: Float32


def torch_session(network: Gpt, slots: int = 1) -> PairedSlots:
    """On a CPU, in float32."""
    length = network.config.most_positions
    decoder = TorchGpt(network, torch.device("cpu"), torch.float32)
    return PairedSlots(TorchSlots(decoder, slots=2 * slots, slot_length=length, window=None))


def onnx_session(network: Gpt, folder: Path, precision: str, slots: int = 1) -> PairedSlots:
    """Weights and graph come to an empty folder."""
    weights, config = folder / DECODER_FILE, network.config
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    build(GptGraph, folder, config, precision, graph_path(folder, precision), weights)
    session = OnnxSlots(
        folder,
        config,
        precision=precision,
        slots=2 * slots,
        slot_length=config.most_positions,
        weights=weights,
    )
    return PairedSlots(session)


@torch.inference_mode()
def generate(
    session: PairedSlots, network: Gpt, prompt: Tensor, sampler: TokenSampler, most: int
) -> Iterator[Spoken]:
    """At most `most` codes after a (1, n, width) prompt."""
    opened = network.opened(prompt)[0].numpy()
    logits, length = session.prefill(0, opened), len(opened)
    for place in range(1, most + 1):
        code = sampler.draw(logits.copy())
        if code == network.config.stop:
            return
        yield Spoken(code, session.latent(0))
        if place < most:
            rows = network.code_rows(torch.tensor([code, code]), torch.tensor([place + 1, place]))
            lengths = np.array([length], np.int32)
            (logits,) = session.decode(rows.reshape(1, -1).numpy(), lengths)
            length += 1

"""A model directory of random weights, with the shapes of a release or of any configuration.

Speed and memory do not depend on values, so it measures what the release would, without its five
gigabytes. What it says is noise; text and reference audio have no part in it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.family_parts import PARTS
from benchmarks.full_size import AnyConfig
from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.safetensors_file import Part, TensorSpec, write_tensors
from tritone.config import CONFIG_NAME
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.merged_checkpoint import merged_shapes
from tritone.llm.checkpoint import HEAD_BIAS, LLM_DIR, WEIGHTS_NAME, write_qwen2
from tritone.llm.config import LLMConfig

STD = 0.02  # of every weight of the language model, as such models are initialised
_NEVER = -100.0  # a stop id is a speech row, but random weights should not end a stream


def write_model(folder: Path, config: AnyConfig, seed: int = 0) -> None:
    """Write config.json, the merged language model in bfloat16, flow and vocoder.

    1.9 GB for the full size of CosyVoice2 and 2.8 GB for that of CosyVoice3, in a minute; only one
    tensor of the language model at a time is in memory.
    """
    (folder / LLM_DIR).mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    write_qwen2(folder / LLM_DIR, config.llm, "bfloat16")
    specs = [TensorSpec(name, "BF16", shape) for name, shape in merged_shapes(config.llm).items()]
    drawn = (_draw(spec, config.llm, generator) for spec in specs)
    write_tensors(folder / LLM_DIR / WEIGHTS_NAME, specs, _as_bits(drawn))
    parts = PARTS[config.family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(parts.flow(config.flow).state_dict(), folder / FLOW_FILE)
        save_file(parts.vocoder(config.vocoder).state_dict(), folder / VOCODER_FILE)
    # last: a directory that has it is complete
    write_json(folder / CONFIG_NAME, config.to_content())


def _draw(spec: TensorSpec, config: LLMConfig, generator: torch.Generator) -> Tensor:
    if spec.name == HEAD_BIAS:
        bias = torch.full(spec.shape, -torch.inf)
        bias[config.speech_rows] = 0
        bias[list(config.stop_ids)] = _NEVER
        return bias
    if "norm" in spec.name:
        return torch.ones(spec.shape)
    return torch.randn(spec.shape, generator=generator) * STD


def _as_bits(tensors: Iterable[Tensor]) -> Iterator[list[Part]]:
    for tensor in tensors:
        yield [tensor.bfloat16().view(torch.int16).numpy()]

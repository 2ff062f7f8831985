"""The merged checkpoint, a plain Qwen2 on disk whose ids are text, then speech (`.merge_llm`)."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tritone.checkpoints.safetensors_file import (
    Checkpoint,
    DType,
    Part,
    TensorSpec,
    to_float32,
    write_tensors,
)
from tritone.compute import DTYPES
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.llm import checkpoint as names
from tritone.llm.checkpoint import write_qwen2
from tritone.llm.config import Qwen2Config
from tritone.llm.trtllm.checkpoint_config import CHECKPOINTS_DIR

PADDING = 128
STORAGE = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}

Shapes = Mapping[str, tuple[int, ...]]
Rows = list[Tensor | int]  # the parts of a merged tensor; a number stands for so many rows of zeros


def merged_shapes(config: SpeechIds) -> Shapes:
    """Every tensor of the merged checkpoint and its shape, in file order."""
    table = (config.vocab_size, config.hidden_size)
    ends = {names.HEAD: table, names.HEAD_BIAS: table[:1]}
    return {names.EMBEDDING: table, **body_shapes(config), **ends}


def body_shapes(sizes: Qwen2Config | SpeechIds) -> Shapes:
    layer = names.layer_shapes(
        sizes.hidden_size,
        sizes.intermediate_size,
        sizes.num_attention_heads,
        sizes.num_key_value_heads,
    )
    layers = range(sizes.num_hidden_layers)
    shapes = {names.layer_name(i, part): shape for i in layers for part, shape in layer.items()}
    return {**shapes, names.FINAL_NORM: (sizes.hidden_size,)}


def padded(ids: int) -> int:
    """The size of a vocabulary that has so many ids."""
    return -(-ids // PADDING) * PADDING


def check_shapes(path: Path, found: Shapes, expected: Shapes) -> None:
    """Raise ModelDirectoryError naming each missing, unexpected or misshapen tensor (at most 8)."""

    def problem(name: str) -> str:
        if name not in found:
            return f"{name} is missing, expected shape {expected[name]}"
        if name not in expected:
            return f"{name} {found[name]} is unexpected"
        return f"{name} has shape {found[name]}, expected {expected[name]}"

    every = found.keys() | expected.keys()
    if wrong := sorted(name for name in every if found.get(name) != expected.get(name)):
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise ModelDirectoryError(f"{path}: " + "; ".join(map(problem, wrong[:8])) + more)


def biased_rows(checkpoint: Checkpoint, stop_ids: int) -> tuple[int, int]:
    """The first speech id and the number of codes, as the finite rows of the head's bias tell."""
    speech = np.flatnonzero(np.isfinite(checkpoint.float32(names.HEAD_BIAS)))
    if len(speech) <= stop_ids or speech[-1] - speech[0] != len(speech) - 1:
        raise ModelDirectoryError(
            f"{checkpoint.path}: {names.HEAD_BIAS} has {len(speech)} finite rows, expected one run "
            "of speech codes and stop ids"
        )
    return int(speech[0]), len(speech) - stop_ids


def check_merged(
    base: Qwen2Config, checkpoint: Checkpoint, config: SpeechIds, expected: Shapes
) -> None:
    """Raise ModelDirectoryError where a merged checkpoint is not as its numbers say."""
    if base.vocab_size != config.vocab_size:
        raise ModelDirectoryError(
            f"{checkpoint.path.parent}: vocab_size is {base.vocab_size}, its speech rows ask for "
            f"{config.vocab_size}"
        )
    shapes = {name: checkpoint.spec(name).shape for name in checkpoint}
    check_shapes(checkpoint.path, shapes, expected)


def stored_rows(checkpoint: Checkpoint, config: SpeechIds, spec: TensorSpec) -> Rows:
    """A tensor of another merged checkpoint; rows that only pad the vocabulary become zero."""
    used = config.prompt_ids if spec.name == names.EMBEDDING else spec.shape[0]
    stored = to_float32(checkpoint.stored(spec.name)[:used])
    return [torch.from_numpy(stored), spec.shape[0] - used]


def stored_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """Raises ModelDirectoryError for a type that is not stored here."""
    stored, known = checkpoint.spec(names.EMBEDDING).dtype, {n: t for t, n in STORAGE.items()}
    if stored not in known:
        raise ModelDirectoryError(
            f"{checkpoint.path}: {names.EMBEDDING} is {stored}, expected one of {', '.join(known)}"
        )
    return known[stored]


def write_merged(
    llm_dir: Path,
    config: SpeechIds,
    dtype: DType | None,
    kept: torch.dtype,
    rows: Callable[[TensorSpec], Rows],
) -> None:
    """rows: of each tensor of `merged_shapes`. kept: storage type where `dtype` is None."""
    stored = DTYPES[dtype or "auto"] or kept
    llm_dir.mkdir(parents=True, exist_ok=True)
    for built in (names.GRAPH_DIR, CHECKPOINTS_DIR):  # from the weights that are replaced now
        shutil.rmtree(llm_dir / built, ignore_errors=True)
    shapes = merged_shapes(config)
    specs = [TensorSpec(name, STORAGE[stored], shape) for name, shape in shapes.items()]

    def parts(spec: TensorSpec) -> Iterator[Part]:
        for part in rows(spec):
            if isinstance(part, int):
                yield part * (spec.nbytes // spec.shape[0])
            else:
                yield _stored(spec.name, part, stored)

    write_tensors(llm_dir / names.WEIGHTS_NAME, specs, (parts(spec) for spec in specs))
    write_qwen2(llm_dir, config, str(stored).removeprefix("torch."))


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    converted = tensor.to(dtype).contiguous()
    ruled_out = converted == -torch.inf if name == names.HEAD_BIAS else torch.zeros(())
    if not (converted.isfinite() | ruled_out.bool()).all():
        raise ModelDirectoryError(f"{name} has values that are not finite in {dtype}")
    bits = converted.view(torch.uint16) if dtype == torch.bfloat16 else converted
    values: NDArray[Any] = bits.numpy()
    return values

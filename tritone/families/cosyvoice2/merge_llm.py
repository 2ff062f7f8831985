"""Released language model -> merged plain-Qwen2 checkpoint.

The release keeps speech apart from text: `llm.pt` holds a text Qwen2, a speech embedding, two
control rows and a biased speech head. Merged, they are one Qwen2 whose vocabulary is

    text | speech codes | stop ids | sos | task_id | padding to a multiple of 128

with an untied head that is zero, and whose bias is -inf, off the speech rows. Any Qwen2 runtime can
serve it, provided that it applies `lm_head.bias`: plain Hugging Face and TensorRT-LLM drop it.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tritone.checkpoints.conversion import DType
from tritone.checkpoints.safetensors_file import (
    Checkpoint,
    Part,
    TensorSpec,
    to_float32,
    write_tensors,
)
from tritone.checkpoints.torch_file import plain_tensors
from tritone.compute.device import DTYPES
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.llm import checkpoint as names
from tritone.llm.checkpoint import read_qwen2, write_qwen2
from tritone.llm.config import Qwen2Config
from tritone.llm.trtllm.checkpoint_config import CHECKPOINTS_DIR

STOP_IDS = 3
PADDING = 128
BODY = "llm.model."  # where llm.pt keeps its Qwen2

Shapes = Mapping[str, tuple[int, ...]]
Rows = list[Tensor | int]  # the parts of a merged tensor; a number stands for so many rows of zeros

_STORAGE = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def merge_llm(
    llm_pt: Path, base_dir: Path, llm_dir: Path, *, text_ids: int, dtype: DType | None = None
) -> SpeechIds:
    """Write the merged checkpoint of `llm_pt` into `llm_dir` and return its numbers.

    base_dir: Qwen2 directory of the release (`CosyVoice-BlankEN`); only its config.json is read.
    text_ids: length of the text tokenizer with its special tokens (151663 for the release); speech
        code k becomes id text_ids + k.
    dtype: storage type; None keeps the one of llm.pt, so that fp32 stays exact.

    Raises ModelDirectoryError for a key or shape that is not as the config says, and for values
    that are not finite in `dtype`.
    """
    base = read_qwen2(base_dir)
    state = _load_state(llm_pt)
    speech_rows = state["llm_decoder.weight"].shape[0] if "llm_decoder.weight" in state else 0
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_shapes(llm_pt, shapes, released_shapes(base, speech_rows))
    if not 0 < text_ids <= base.vocab_size:
        raise ModelDirectoryError(
            f"{base_dir}: the tokenizer has {text_ids} ids, the embedding {base.vocab_size} rows"
        )
    config = _llm_config(base, text_ids, speech_rows - STOP_IDS)
    stored = DTYPES[dtype or "auto"] or state["speech_embedding.weight"].dtype
    _write_merged(llm_dir, config, stored, partial(_merged_rows, state, config))
    return config


def _merged_rows(state: Mapping[str, Tensor], config: SpeechIds, spec: TensorSpec) -> Rows:
    text, head = config.speech_offset, state["llm_decoder.weight"]
    if spec.name == names.EMBEDDING:
        speech, marks = state["speech_embedding.weight"], state["llm_embedding.weight"]
        padding = config.vocab_size - config.task_id - 1
        return [state[BODY + names.EMBEDDING][:text], speech, marks, padding]
    if spec.name == names.HEAD:
        return [text, head, config.vocab_size - text - len(head)]
    if spec.name == names.HEAD_BIAS:
        bias = torch.full(spec.shape, -torch.inf)
        bias[text : text + len(head)] = state["llm_decoder.bias"]
        return [bias]
    return [state[BODY + spec.name]]


def read_merged(llm_dir: Path) -> SpeechIds:
    """Verify a merged checkpoint (ours or a published one) and return its numbers.

    The speech rows are those whose head bias is finite. Raises ModelDirectoryError where config,
    tensors and bias do not agree.
    """
    base = read_qwen2(llm_dir)
    checkpoint = Checkpoint(llm_dir / names.WEIGHTS_NAME)
    if names.HEAD_BIAS not in checkpoint:
        raise ModelDirectoryError(
            f"{checkpoint.path}: {names.HEAD_BIAS} is missing (a plain Qwen2 export drops it) and "
            "text ids would be sampled without it; merge llm.pt instead"
        )
    speech = np.flatnonzero(np.isfinite(checkpoint.float32(names.HEAD_BIAS)))
    if len(speech) <= STOP_IDS or speech[-1] - speech[0] != len(speech) - 1:
        raise ModelDirectoryError(
            f"{checkpoint.path}: {names.HEAD_BIAS} has {len(speech)} finite rows, expected one run "
            "of speech codes and stop ids"
        )
    config = _llm_config(base, int(speech[0]), len(speech) - STOP_IDS)
    if base.vocab_size != config.vocab_size:
        raise ModelDirectoryError(
            f"{llm_dir}: vocab_size is {base.vocab_size}, its speech rows ask for "
            f"{config.vocab_size}"
        )
    shapes = {name: checkpoint.spec(name).shape for name in checkpoint}
    check_shapes(checkpoint.path, shapes, merged_shapes(config))
    return config


def copy_merged(source_dir: Path, llm_dir: Path, *, dtype: DType | None = None) -> SpeechIds:
    """Verify the merged checkpoint of `source_dir` and write it to `llm_dir` as `merge_llm` would.

    Rows that only pad the vocabulary become zero. Raises ModelDirectoryError like `read_merged`.
    """
    config = read_merged(source_dir)
    checkpoint = Checkpoint(source_dir / names.WEIGHTS_NAME)
    kept = {name: dtype for dtype, name in _STORAGE.items()}[checkpoint.spec(names.EMBEDDING).dtype]

    def rows(spec: TensorSpec) -> Rows:
        used = config.task_id + 1 if spec.name == names.EMBEDDING else spec.shape[0]
        stored = to_float32(checkpoint.stored(spec.name)[:used])
        return [torch.from_numpy(stored), spec.shape[0] - used]

    _write_merged(llm_dir, config, DTYPES[dtype or "auto"] or kept, rows)
    return config


def released_shapes(base: Qwen2Config, speech_rows: int) -> Shapes:
    """Every key of `llm.pt` and its shape; the tied text head is there and unused."""
    hidden = base.hidden_size
    return {
        **{BODY + name: shape for name, shape in _body_shapes(base).items()},
        **dict.fromkeys((BODY + names.EMBEDDING, BODY + names.HEAD), (base.vocab_size, hidden)),
        "llm_embedding.weight": (2, hidden),
        "speech_embedding.weight": (speech_rows, hidden),
        "llm_decoder.weight": (speech_rows, hidden),
        "llm_decoder.bias": (speech_rows,),
    }


def merged_shapes(config: SpeechIds) -> Shapes:
    """Every tensor of the merged checkpoint and its shape, in file order."""
    table = (config.vocab_size, config.hidden_size)
    ends = {names.HEAD: table, names.HEAD_BIAS: table[:1]}
    return {names.EMBEDDING: table, **_body_shapes(config), **ends}


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


def _body_shapes(sizes: Qwen2Config | SpeechIds) -> Shapes:
    layer = names.layer_shapes(
        sizes.hidden_size,
        sizes.intermediate_size,
        sizes.num_attention_heads,
        sizes.num_key_value_heads,
    )
    layers = range(sizes.num_hidden_layers)
    shapes = {names.layer_name(i, part): shape for i in layers for part, shape in layer.items()}
    return {**shapes, names.FINAL_NORM: (sizes.hidden_size,)}


def _llm_config(base: Qwen2Config, text_ids: int, speech_codes: int) -> SpeechIds:
    stop = text_ids + speech_codes
    used = stop + STOP_IDS + 2
    vocabulary = {
        "vocab_size": -(-used // PADDING) * PADDING,
        "speech_offset": text_ids,
        "speech_codes": speech_codes,
        "stop_ids": tuple(range(stop, stop + STOP_IDS)),
        "sos_id": used - 2,
        "task_id": used - 1,
    }
    return SpeechIds(**{**base.model_dump(), **vocabulary})


def _load_state(path: Path) -> dict[str, Tensor]:
    state = plain_tensors(path, mmap=True)
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.dtype not in _STORAGE:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ModelDirectoryError(f"{path}: {name} is {found}, expected a float tensor")
    return state


def _write_merged(
    llm_dir: Path, config: SpeechIds, dtype: torch.dtype, rows: Callable[[TensorSpec], Rows]
) -> None:
    llm_dir.mkdir(parents=True, exist_ok=True)
    for built in (names.GRAPH_DIR, CHECKPOINTS_DIR):  # from the weights that are replaced now
        shutil.rmtree(llm_dir / built, ignore_errors=True)
    specs = [TensorSpec(n, _STORAGE[dtype], shape) for n, shape in merged_shapes(config).items()]

    def parts(spec: TensorSpec) -> Iterator[Part]:
        for part in rows(spec):
            if isinstance(part, int):
                yield part * (spec.nbytes // spec.shape[0])
            else:
                yield _stored(spec.name, part, dtype)

    write_tensors(llm_dir / names.WEIGHTS_NAME, specs, (parts(spec) for spec in specs))
    write_qwen2(llm_dir, config, str(dtype).removeprefix("torch."))


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    converted = tensor.to(dtype).contiguous()
    ruled_out = converted == -torch.inf if name == names.HEAD_BIAS else torch.zeros(())
    if not (converted.isfinite() | ruled_out.bool()).all():
        raise ModelDirectoryError(f"{name} has values that are not finite in {dtype}")
    bits = converted.view(torch.uint16) if dtype == torch.bfloat16 else converted
    values: NDArray[Any] = bits.numpy()
    return values

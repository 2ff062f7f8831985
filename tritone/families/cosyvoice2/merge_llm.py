"""Released language model -> merged plain-Qwen2 checkpoint.

The release keeps speech apart from text: `llm.pt` holds a text Qwen2, a speech embedding, two
control rows and a biased speech head. Merged, they are one Qwen2 whose vocabulary is

    text | speech codes | stop ids | sos | task_id | padding to a multiple of 128

with an untied head that is zero, and whose bias is -inf, off the speech rows. Any Qwen2 runtime can
serve it, provided that it applies `lm_head.bias`: plain Hugging Face and TensorRT-LLM drop it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tritone.checkpoints.safetensors_file import Checkpoint, DType, TensorSpec
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.merged_checkpoint import (
    STORAGE,
    Rows,
    Shapes,
    biased_rows,
    body_shapes,
    check_merged,
    check_shapes,
    merged_shapes,
    padded,
    stored_dtype,
    stored_rows,
    write_merged,
)
from tritone.llm import checkpoint as names
from tritone.llm.checkpoint import read_qwen2
from tritone.llm.config import Qwen2Config

STOP_IDS = 3
BODY = "llm.model."  # where llm.pt keeps its Qwen2
SPEECH_EMBEDDING, SPEECH_HEAD = "speech_embedding.weight", "llm_decoder.weight"

State = Mapping[str, Tensor]  # of llm.pt


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
    base, state = read_released(llm_pt, base_dir, text_ids, STOP_IDS, _speech_shapes)
    config = _llm_config(base, text_ids, len(state[SPEECH_HEAD]) - STOP_IDS)
    rows = partial(_merged_rows, state, config)
    write_merged(llm_dir, config, dtype, state[SPEECH_EMBEDDING].dtype, rows)
    return config


def read_released(
    llm_pt: Path,
    base_dir: Path,
    text_ids: int,
    stop_ids: int,
    speech_shapes: Callable[[int, int], Shapes],
) -> tuple[Qwen2Config, State]:
    """The Qwen2 of a release and the tensors of its `llm.pt`, checked.

    stop_ids: how many follow the codes in the speech head. speech_shapes: of the tensors beside the
    Qwen2, for a number of speech rows and a width. Raises ModelDirectoryError like `merge_llm`.
    """
    base, state = read_qwen2(base_dir), _load_state(llm_pt)
    speech_rows = len(state[SPEECH_HEAD]) if SPEECH_HEAD in state else 0
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    speech = speech_shapes(speech_rows, base.hidden_size)
    check_shapes(llm_pt, shapes, {**_text_shapes(base), **speech})
    if speech_rows <= stop_ids:
        raise ModelDirectoryError(
            f"{llm_pt}: {SPEECH_HEAD} has {speech_rows} rows, expected speech codes and {stop_ids} "
            "stop ids; take the file as it was released"
        )
    if not 0 < text_ids <= base.vocab_size:
        raise ModelDirectoryError(
            f"{base_dir}: the tokenizer has {text_ids} ids, the embedding {base.vocab_size} rows"
        )
    return base, state


def _merged_rows(state: State, config: SpeechIds, spec: TensorSpec) -> Rows:
    text, head = config.speech_offset, state[SPEECH_HEAD]
    if spec.name == names.EMBEDDING:
        speech, marks = state[SPEECH_EMBEDDING], state["llm_embedding.weight"]
        padding = config.vocab_size - config.prompt_ids
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
    offset, codes = biased_rows(checkpoint, STOP_IDS)
    config = _llm_config(base, offset, codes)
    check_merged(base, checkpoint, config, merged_shapes(config))
    return config


def copy_merged(source_dir: Path, llm_dir: Path, *, dtype: DType | None = None) -> SpeechIds:
    """Verify the merged checkpoint of `source_dir` and write it to `llm_dir` as `merge_llm` would.

    Rows that only pad the vocabulary become zero. Raises ModelDirectoryError like `read_merged`.
    """
    config = read_merged(source_dir)
    checkpoint = Checkpoint(source_dir / names.WEIGHTS_NAME)
    rows = partial(stored_rows, checkpoint, config)
    write_merged(llm_dir, config, dtype, stored_dtype(checkpoint), rows)
    return config


def _text_shapes(base: Qwen2Config) -> Shapes:
    """Of the Qwen2 within `llm.pt`; its tied text head is there and unused."""
    text = dict.fromkeys((names.EMBEDDING, names.HEAD), (base.vocab_size, base.hidden_size))
    return {BODY + name: shape for name, shape in {**body_shapes(base), **text}.items()}


def _speech_shapes(speech_rows: int, hidden: int) -> Shapes:
    return {
        "llm_embedding.weight": (2, hidden),
        SPEECH_EMBEDDING: (speech_rows, hidden),
        SPEECH_HEAD: (speech_rows, hidden),
        "llm_decoder.bias": (speech_rows,),
    }


def _llm_config(base: Qwen2Config, text_ids: int, speech_codes: int) -> SpeechIds:
    stop = text_ids + speech_codes
    used = stop + STOP_IDS + 2
    vocabulary = {
        "vocab_size": padded(used),
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
        if not isinstance(value, Tensor) or value.dtype not in STORAGE:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ModelDirectoryError(f"{path}: {name} is {found}, expected a float tensor")
    return state

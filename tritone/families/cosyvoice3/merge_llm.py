"""Released language model -> merged plain-Qwen2 checkpoint.

Beside its text Qwen2, `llm.pt` holds one speech table, in which the two control rows stand among
the stop ids, and a speech head without a bias. Merged, the ids are

    text | speech codes | sos, end of speech, task_id, 197 more that stop | padding to 128

The head is zero off the speech rows, and its bias 0 on them and -inf off them: text must not be
drawn. In the published Hugging Face form it could be: the text rows of that head are those of the
embedding, and it has no bias.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone.checkpoints.safetensors_file import Checkpoint, DType, TensorSpec, to_float32
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.merge_llm import (
    BODY,
    SPEECH_EMBEDDING,
    SPEECH_HEAD,
    State,
    read_released,
)
from tritone.families.cosyvoice2.merged_checkpoint import (
    Rows,
    Shapes,
    biased_rows,
    check_merged,
    merged_shapes,
    padded,
    stored_dtype,
    stored_rows,
    write_merged,
)
from tritone.llm import checkpoint as names
from tritone.llm.checkpoint import read_qwen2
from tritone.llm.config import Qwen2Config
from tritone.plain_json import parse_json

STOP_IDS = 200
SOS, END, TASK = range(3)  # where they stand among the stop ids
PUBLISHED = "cosyvoice3_metadata.json"  # numbers of a checkpoint in Hugging Face form


def merge_llm(
    llm_pt: Path, base_dir: Path, llm_dir: Path, *, text_ids: int, dtype: DType | None = None
) -> SpeechIds:
    """As CosyVoice2's `merge_llm`; the release has 151924 text ids."""
    base, state = read_released(llm_pt, base_dir, text_ids, STOP_IDS, _speech_shapes)
    config = _llm_config(base, text_ids, len(state[SPEECH_HEAD]) - STOP_IDS)
    rows = partial(_merged_rows, state, config)
    write_merged(llm_dir, config, dtype, state[SPEECH_EMBEDDING].dtype, rows)
    return config


def read_merged(llm_dir: Path) -> SpeechIds:
    """Verify a merged checkpoint, ours or a published one, and return its numbers.

    Raises ModelDirectoryError where config, tensors and numbers do not agree.
    """
    base, checkpoint = read_qwen2(llm_dir), Checkpoint(llm_dir / names.WEIGHTS_NAME)
    ours = names.HEAD_BIAS in checkpoint
    offset, codes = biased_rows(checkpoint, STOP_IDS) if ours else _published_rows(llm_dir)
    config = _llm_config(base, offset, codes)
    shapes = dict(merged_shapes(config))
    if not ours:
        del shapes[names.HEAD_BIAS]
    check_merged(base, checkpoint, config, shapes)
    return config


def copy_merged(source_dir: Path, llm_dir: Path, *, dtype: DType | None = None) -> SpeechIds:
    """Verify the merged checkpoint of `source_dir` and write it to `llm_dir` as `merge_llm` would.

    Raises ModelDirectoryError like `read_merged`.
    """
    config = read_merged(source_dir)
    checkpoint = Checkpoint(source_dir / names.WEIGHTS_NAME)
    rows = partial(_copied_rows, checkpoint, config)
    write_merged(llm_dir, config, dtype, stored_dtype(checkpoint), rows)
    return config


def _speech_shapes(speech_rows: int, hidden: int) -> Shapes:
    return dict.fromkeys((SPEECH_EMBEDDING, SPEECH_HEAD), (speech_rows, hidden))


def _merged_rows(state: State, config: SpeechIds, spec: TensorSpec) -> Rows:
    text, speech = config.speech_offset, config.speech_rows
    padding = config.vocab_size - speech.stop
    if spec.name == names.EMBEDDING:
        return [state[BODY + names.EMBEDDING][:text], state[SPEECH_EMBEDDING], padding]
    if spec.name == names.HEAD:
        return [text, state[SPEECH_HEAD], padding]
    return [_mask(config) if spec.name == names.HEAD_BIAS else state[BODY + spec.name]]


def _copied_rows(checkpoint: Checkpoint, config: SpeechIds, spec: TensorSpec) -> Rows:
    if spec.name == names.HEAD_BIAS:
        return [_mask(config)]
    if spec.name == names.HEAD:
        speech = config.speech_rows
        head = to_float32(checkpoint.stored(names.HEAD)[speech])
        return [speech.start, torch.from_numpy(head), config.vocab_size - speech.stop]
    return stored_rows(checkpoint, config, spec)


def _mask(config: SpeechIds) -> Tensor:
    """(vocab_size,) bias of a head that has none of its own."""
    mask = torch.full((config.vocab_size,), -torch.inf)
    mask[config.speech_rows] = 0
    return mask


def _published_rows(llm_dir: Path) -> tuple[int, int]:
    """The first speech id and the number of codes of a checkpoint in Hugging Face form."""
    path = llm_dir / PUBLISHED
    if not path.is_file():
        raise ModelDirectoryError(
            f"{llm_dir}: nothing tells which ids are speech: {names.WEIGHTS_NAME} has no "
            f"{names.HEAD_BIAS} and {PUBLISHED} is missing; download that file too, or merge llm.pt"
        )
    numbers = parse_json(path)
    offset, codes, end = (
        _number(path, numbers, name)
        for name in ("speech_token_offset", "base_speech_token_size", "eos_token_id")
    )
    rows = _number(path, numbers, "embedding_size")
    if (rows - codes, end) != (STOP_IDS, offset + codes + END):
        raise ModelDirectoryError(
            f"{path}: {rows} speech rows from id {offset} on, {codes} of them codes, and speech "
            f"ends with {end}; expected {STOP_IDS} stop ids, the second of which ends speech"
        )
    return offset, codes


def _number(path: Path, numbers: dict[str, Any], name: str) -> int:
    value = numbers.get(name)
    if type(value) is not int or value < 1:
        raise ModelDirectoryError(f"{path}: {name} is {value!r}, expected a whole number above 0")
    return value


def _llm_config(base: Qwen2Config, text_ids: int, speech_codes: int) -> SpeechIds:
    stops = range(text_ids + speech_codes, text_ids + speech_codes + STOP_IDS)
    vocabulary = {
        "vocab_size": padded(stops.stop),
        "speech_offset": text_ids,
        "speech_codes": speech_codes,
        "stop_ids": (stops[END], *(stop for stop in stops if stop != stops[END])),
        "all_stops_wait": True,
        "sos_id": stops[SOS],
        "task_id": stops[TASK],
    }
    return SpeechIds(**{**base.model_dump(), **vocabulary})

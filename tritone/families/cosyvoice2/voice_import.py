"""Voices from upstream's spk2info.pt, of which three kinds are in use.

upstream            zero-shot entries as CosyVoice writes them: transcript as token ids
async_cosyvoice     what upstream's Triton runtime reads: transcript as text
speaker only        {'embedding': (1, 192)}: no prompt, as for SFT voices
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tritone.arrays import Float32
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.voice import MEL_BINS, Voice, check_shapes

Decode = Callable[[Sequence[int]], str]


def import_spk2info(path: Path, decode: Decode) -> dict[str, Voice]:
    """Read every voice of a spk2info.pt, without running any code that the file might hold.

    decode: text ids to text (the base tokenizer of the same checkpoint).
    Raises ModelDirectoryError naming the file, the voice and what is wrong with it. Needs torch.
    """
    import torch

    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise whatever its reader stumbles on
        raise ModelDirectoryError(f"{path}: cannot be read as plain tensors: {error}") from error
    if not isinstance(entries, dict):
        raise ModelDirectoryError(
            f"{path}: holds {type(entries).__name__}, expected a dict of voices"
        )
    voices = {}
    for name, entry in entries.items():
        try:
            voices[str(name)] = _voice(entry, decode)
        except ValueError as error:
            raise ModelDirectoryError(f"{path}: voice {name!r}: {error}") from error
    return voices


def _voice(entry: Any, decode: Decode) -> Voice:
    if not isinstance(entry, Mapping):
        raise ValueError(f"is {type(entry).__name__}, expected a dict")
    if "flow_embedding" in entry:
        voice = _upstream(entry, decode)
    elif "speech_token" in entry:
        voice = Voice(
            prompt_tokens=_row(entry, "speech_token").astype(np.int32),
            prompt_mel=_mel(entry, "speech_feat"),
            embedding=_row(entry, "embedding").astype(np.float32),
            transcript=str(entry.get("prompt_text", "")),
        )
    else:
        voice = Voice(
            prompt_tokens=np.zeros(0, dtype=np.int32),
            prompt_mel=np.zeros((0, MEL_BINS), dtype=np.float32),
            embedding=_row(entry, "embedding").astype(np.float32),
        )
    problem = check_shapes(voice)
    if problem:
        raise ValueError(problem)
    return voice


def _upstream(entry: Mapping[str, Any], decode: Decode) -> Voice:
    """A zero-shot entry. Upstream gives the LLM and the flow the same tokens and embedding."""
    tokens = _row(entry, "flow_prompt_speech_token").astype(np.int32)
    if not np.array_equal(tokens, _row(entry, "llm_prompt_speech_token")):
        raise ValueError("llm_prompt_speech_token and flow_prompt_speech_token differ")
    text_ids = _row(entry, "prompt_text").tolist() if "prompt_text" in entry else []
    return Voice(
        prompt_tokens=tokens,
        prompt_mel=_mel(entry, "prompt_speech_feat"),
        embedding=_row(entry, "flow_embedding").astype(np.float32),
        transcript=decode(text_ids),
    )


def _row(entry: Mapping[str, Any], key: str) -> np.ndarray[Any, Any]:
    """The (n,) content of a (1, n) tensor."""
    array = _array(entry, key)
    if array.ndim != 2 or array.shape[0] != 1:
        raise ValueError(f"{key} has shape {array.shape}, expected (1, n)")
    row: np.ndarray[Any, Any] = array[0]
    return row


def _mel(entry: Mapping[str, Any], key: str) -> Float32:
    array = _array(entry, key)
    if array.ndim != 3 or array.shape[0] != 1:
        raise ValueError(f"{key} has shape {array.shape}, expected (1, frames, {MEL_BINS})")
    mel: Float32 = array[0].astype(np.float32)
    return mel


def _array(entry: Mapping[str, Any], key: str) -> np.ndarray[Any, Any]:
    value: Any = entry.get(key)
    if not hasattr(value, "numpy"):
        raise ValueError(f"{key} is missing or not a tensor (keys: {', '.join(map(str, entry))})")
    if value.is_floating_point():
        value = value.float()  # numpy has no bfloat16
    array: np.ndarray[Any, Any] = value.numpy()
    return array

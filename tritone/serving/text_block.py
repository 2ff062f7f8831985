"""A TextBlock as tensors: what the model `frontend` answers and the orchestrator reads.

Segments lie one after the other in `input_ids`; a part that would be empty is left out, since the
Python backend does not carry tensors of no elements reliably.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.families.cosyvoice2.voice import Voice
from tritone.synthesis.text_blocks import TextBlock
from tritone.synthesis.values import Segment

OUTPUTS = (
    "input_ids",
    "segment_lengths",
    "target_tokens",
    "info",
    "prompt_speech_tokens",
    "prompt_speech_feat",
    "prompt_spk_embedding",
)


def block_arrays(block: TextBlock, voice: Voice) -> Iterator[tuple[str, NDArray[Any]]]:
    segments = block.segments
    if segments:
        yield "input_ids", np.concatenate([s.input_ids for s in segments])
        yield "segment_lengths", np.array([len(s.input_ids) for s in segments], np.int32)
        yield "target_tokens", np.array([s.target_tokens for s in segments], np.int32)
    info = {
        "texts": [s.text for s in segments],
        "notes": [s.notes for s in segments],
        "skipped": block.notes,
        "more": block.more,
        "voice_cached": voice.cached,
    }
    yield "info", np.array([json.dumps(info).encode()], dtype=np.object_)
    yield "prompt_spk_embedding", voice.embedding
    if len(voice.prompt_tokens):
        yield "prompt_speech_tokens", voice.prompt_tokens
        yield "prompt_speech_feat", voice.prompt_mel


def read_block(array: Callable[[str], Any], voice: Voice) -> TextBlock:
    """array: an output by name, None where it was left out. voice: of the whole request."""
    info = json.loads(array("info")[0])
    ids, lengths, targets = (array(name) for name in OUTPUTS[:3])
    segments = []
    if ids is not None:
        parts = np.split(ids, np.cumsum(lengths)[:-1])
        for part, target, text, notes in zip(
            parts, targets, info["texts"], info["notes"], strict=True
        ):
            segments.append(Segment(part, int(target), text, voice, tuple(notes)))
    return TextBlock(tuple(segments), tuple(info["skipped"]), bool(info["more"]))


def voice_cached(array: Callable[[str], Any]) -> bool:
    """Whether the front end had the voice ready; `array` as for `read_block`."""
    return bool(json.loads(array("info")[0])["voice_cached"])

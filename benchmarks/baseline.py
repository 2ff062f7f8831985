"""What our figures are held against: each chunk computed from the start, and eager decoding.

Both are plain float32 on the same weights. Upstream's streaming runtimes compute the flow over the
prompt and all tokens so far for every chunk, and the vocoder over the new frames and some before
them (CosyVoice2) or all (CosyVoice3); the language model is decoded by Hugging Face's eager Qwen2.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.family_parts import PARTS
from benchmarks.full_size import AnyConfig
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.vocoder_stage import StreamingVocoder
from tritone.arrays import Int32
from tritone.llm.contract import Increment
from tritone.voice import Voice


def recomputed(
    config: AnyConfig,
    flow: FlowStage,
    vocoder: StreamingVocoder[Any],
    voice: Voice,
    tokens: Int32,
) -> Iterator[Tensor]:
    """The samples of each chunk of a stream whose every chunk starts from nothing.

    flow: a stage of its own, in float32. vocoder: as it was loaded. tokens: (n,) speech codes; a
    chunk and its look-ahead are as long as the flow's.
    """
    again, numbers, sent = PARTS[config.family].vocoded_again, config.flow, 0
    for end in range(numbers.chunk_size, len(tokens) + 1, numbers.chunk_size):
        mel = flow.whole(Increment(tokens[: end + numbers.pre_lookahead_len]), voice)
        until = numbers.token_mel_ratio * end
        first = 0 if again is None else max(0, sent - again)
        part = torch.from_numpy(mel[:, first:until])
        with torch.inference_mode():
            wave, _ = vocoder.step(part, vocoder.start(seed=0), finalize=True)
        yield wave
        sent = until


def eager_decode_seconds(llm_dir: Path, prompt: Int32, steps: int) -> list[float]:
    """CPU seconds of each greedy step of Hugging Face's Qwen2 in float32 after a prompt (n,).

    Needs the package transformers, and four bytes for each of the checkpoint's weights.
    """
    from transformers import AutoModelForCausalLM, logging

    logging.set_verbosity_error()  # the merged checkpoint's head has a bias that Qwen2 has not
    model = AutoModelForCausalLM.from_pretrained(
        llm_dir, dtype=torch.float32, attn_implementation="eager"
    )
    seconds = []
    with torch.inference_mode():
        ids, past = torch.from_numpy(prompt.astype(np.int64))[None], None
        for _ in range(steps + 1):
            begin = time.process_time()
            output = model(input_ids=ids, past_key_values=past, use_cache=True)
            ids, past = output.logits[:, -1:].argmax(-1), output.past_key_values
            seconds.append(time.process_time() - begin)
    return seconds[1:]

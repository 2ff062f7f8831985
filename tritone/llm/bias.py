"""What a plain Qwen2 runtime must add to the logits: the head's bias, and a ban on all but speech.

The speech head has a bias, which neither Hugging Face's Qwen2 nor TensorRT-LLM's has, and the rows
off it must never be drawn. Both fit into one vector that is added to the logits.
"""

from pathlib import Path

import numpy as np

from tritone.arrays import Float32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import HEAD_BIAS, LLM_DIR, WEIGHTS_NAME
from tritone.llm.config import LLMConfig
from tritone.loading.steps import step

# Far below every logit, yet finite in half precision together with one: runtimes may hold logits in
# half, and two infinities of a softmax make NaN.
BANNED = -3e4


def logit_bias(model_dir: Path, llm: LLMConfig) -> Float32:
    """(vocab_size,) bias of speech codes and stop ids, BANNED elsewhere.

    Raises ModelDirectoryError when the checkpoint's own bias does not ban what it should.
    """
    path = model_dir / LLM_DIR / WEIGHTS_NAME
    with step("logit bias", path):
        stored = Checkpoint(path).float32(HEAD_BIAS)
    speech = np.s_[llm.speech_offset : llm.speech_offset + llm.speech_head_size]
    if stored.shape != (llm.vocab_size,) or not np.isfinite(stored[speech]).all():
        raise ModelDirectoryError(
            f"{path}: {HEAD_BIAS} has shape {stored.shape} and must be finite for ids "
            f"{speech.start}..{speech.stop - 1} of {llm.vocab_size}; convert the checkpoint again"
        )
    bias = np.full(llm.vocab_size, BANNED, np.float32)
    bias[speech] = stored[speech]
    return bias

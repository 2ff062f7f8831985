"""The numbers of the golden language model, for tests of texts that are still being written."""

import numpy as np

from tritone.families.cosyvoice2.config import SpeechIds

OFFSET, CODES = 284, 6561
END, OTHER, FILL = 6561, 6562, 6563  # rows
SOS, CLOSING = 6848, 6849
LLM = SpeechIds(
    vocab_size=6850, speech_offset=OFFSET, speech_codes=CODES, stop_ids=(6845, 6846, 6847),
    sos_id=SOS, task_id=CLOSING, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    num_attention_heads=1, num_key_value_heads=1, rope_theta=1e4, rms_norm_eps=1e-6,
    max_position_embeddings=512,
)  # fmt: skip


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)

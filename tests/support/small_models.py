"""Configurations of both families that are small enough to measure in a test."""

from paths import EMBEDDED

from benchmarks.full_size import COSYVOICE3
from tritone.families.cosyvoice2.config import CosyVoice2Config, with_cheaper_solver
from tritone.families.cosyvoice3.config import CosyVoice3Config, EstimatorConfig


def small_cosyvoice2() -> CosyVoice2Config:
    """The sizes of the embedded voice, two ODE steps."""
    return with_cheaper_solver(CosyVoice2Config.read(EMBEDDED), 2, 0)


def small_cosyvoice3() -> CosyVoice3Config:
    """The ids of speech moved down behind a text vocabulary that has little but the added tokens.

    Two ODE steps.
    """
    full = COSYVOICE3
    down = full.llm.speech_offset - 640
    llm = full.llm.model_copy(
        update={
            "vocab_size": 7424,
            "speech_offset": full.llm.speech_offset - down,
            "stop_ids": tuple(stop - down for stop in full.llm.stop_ids),
            "sos_id": full.llm.sos_id - down,
            "task_id": full.llm.task_id - down,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        }
    )
    estimator = EstimatorConfig(dim=64, depth=2, heads=2, dim_head=32, ff_mult=2)
    flow = full.flow.model_copy(update={"estimator": estimator, "lookahead_channels": 64})
    vocoder = full.vocoder.model_copy(update={"base_channels": 64, "f0_channels": 32})
    small = full.model_copy(update={"llm": llm, "flow": flow, "vocoder": vocoder})
    return with_cheaper_solver(small, 2, 0)

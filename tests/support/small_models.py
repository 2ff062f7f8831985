"""Configurations of both families that are small enough to measure in a test."""

from paths import EMBEDDED

from benchmarks.full_size import COSYVOICE3
from tritone.acoustic.presets import SolverChoice
from tritone.families.cosyvoice2.config import CosyVoice2Config, SpeechIds
from tritone.families.cosyvoice2.merged_checkpoint import padded
from tritone.families.cosyvoice3.config import CosyVoice3Config, EstimatorConfig
from tritone.families.other_solver import with_solver

TEXT_IDS = 640  # every byte, and the tokens that a release adds


def small_cosyvoice2() -> CosyVoice2Config:
    """The sizes of the embedded voice, two ODE steps."""
    return with_solver(CosyVoice2Config.read(EMBEDDED), SolverChoice(ode_steps=2))


def small_cosyvoice3() -> CosyVoice3Config:
    """The released sizes, most of them much smaller, and two ODE steps."""
    full = COSYVOICE3
    estimator = EstimatorConfig(dim=64, depth=2, heads=2, dim_head=32, ff_mult=2)
    flow = full.flow.model_copy(update={"estimator": estimator, "lookahead_channels": 64})
    vocoder = full.vocoder.model_copy(update={"base_channels": 64, "f0_channels": 32})
    sizes = {"llm": small_llm(full.llm), "flow": flow, "vocoder": vocoder}
    return with_solver(full.model_copy(update=sizes), SolverChoice(ode_steps=2))


def small_llm(full: SpeechIds) -> SpeechIds:
    """Two narrow layers; the speech ids follow a text vocabulary of TEXT_IDS."""
    down = full.speech_offset - TEXT_IDS
    return full.model_copy(
        update={
            "vocab_size": padded(full.prompt_ids - down),
            "speech_offset": TEXT_IDS,
            "stop_ids": tuple(stop - down for stop in full.stop_ids),
            "sos_id": full.sos_id - down,
            "task_id": full.task_id - down,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        }
    )

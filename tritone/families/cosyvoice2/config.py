"""CosyVoice2's section of config.json: every number of a checkpoint. It needs no torch."""

from math import prod
from typing import Literal

from pydantic import Field

from tritone.acoustic.solver_config import SolverConfig
from tritone.config import Count, ModelConfig, Size, Strict
from tritone.llm.config import LLMConfig, SamplingConfig

TEXT_TURN, SPEECH_TURN = 5, 15  # ids, where text and speech take turns
REREAD, AHEAD = 1, 3  # text ids, where a checkpoint that tells what it says reads its text anew


class SpeechIds(LLMConfig):
    """The language model's ids: sos opens a prompt, task_id stands between its text and its speech.

    Both follow the stop ids or are among them; what comes after means nothing.
    """

    sos_id: int = Field(ge=0)
    task_id: int = Field(ge=0)

    @property
    def prompt_ids(self) -> int:
        return max(self.task_id + 1, self.speech_offset + self.speech_head_size)


class TextConfig(Strict):
    """How text becomes token ids. pronunciation "hibari" maps English words to phoneme tokens."""

    pronunciation: Literal["none", "hibari"] = "none"
    instruct_end: str = ""  # token that closes an instruction, e.g. <|endofprompt|>


class PromptConfig(Strict):
    """longest_seconds: of a reference that the checkpoint goes on from as it should."""

    longest_seconds: float = Field(default=30.0, gt=0)


class FlowEncoderConfig(Strict):
    output_size: Size
    attention_heads: Count
    linear_units: Size
    num_blocks: Count
    num_up_blocks: Count


class EstimatorConfig(Strict):
    channels: Size
    attention_head_dim: Size
    num_heads: Count
    n_blocks: Count
    num_mid_blocks: Count


class FlowConfig(Strict):
    vocab_size: Size
    input_size: Size
    spk_embed_dim: Size
    output_size: Size
    token_mel_ratio: Count
    pre_lookahead_len: int = Field(ge=0, le=1000)
    chunk_size: Size  # tokens in one attention chunk
    encoder: FlowEncoderConfig
    estimator: EstimatorConfig
    solver: SolverConfig


class VocoderConfig(Strict):
    in_channels: Size
    base_channels: Size
    nb_harmonics: Count
    nsf_alpha: float
    nsf_sigma: float
    nsf_voiced_threshold: float
    upsample_rates: tuple[Size, ...]
    upsample_kernel_sizes: tuple[Size, ...]
    istft_n_fft: Size
    istft_hop: Size
    resblock_kernel_sizes: tuple[Size, ...]
    resblock_dilation_sizes: tuple[tuple[Size, ...], ...]
    source_resblock_kernel_sizes: tuple[Size, ...]
    source_resblock_dilation_sizes: tuple[tuple[Size, ...], ...]
    lrelu_slope: float
    audio_limit: float
    # upstream takes the sine of what the network gives as the phase, at most one radian; a
    # checkpoint of our own may use it as it is
    free_phase: bool = False
    f0_channels: Size

    @property
    def samples_per_frame(self) -> int:
        return self.istft_hop * prod(self.upsample_rates)


class CosyVoice2Config(ModelConfig):
    family: Literal["cosyvoice2"] = "cosyvoice2"
    text: TextConfig
    prompt: PromptConfig = PromptConfig()
    sampling: SamplingConfig
    llm: SpeechIds
    flow: FlowConfig
    vocoder: VocoderConfig

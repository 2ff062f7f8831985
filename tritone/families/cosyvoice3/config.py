"""CosyVoice3's section of config.json: every number of a checkpoint. It needs no torch."""

from math import prod
from typing import Literal

from pydantic import Field

from tritone.acoustic.solver_config import SolverConfig
from tritone.config import Count, ModelConfig, Size, Strict
from tritone.families.cosyvoice2 import config as cosyvoice2
from tritone.families.cosyvoice2.config import PromptConfig, SpeechIds
from tritone.llm.config import SamplingConfig


class TextConfig(cosyvoice2.TextConfig):
    """As CosyVoice2's.

    instruct_end: token that closes what comes before the text: the system's words, alone or with
    an instruction. system: those words.
    """

    instruct_end: str = Field(default="<|endofprompt|>", min_length=1)
    system: str = "You are a helpful assistant."


class EstimatorConfig(Strict):
    """A diffusion transformer; the feed-forward layers have ff_mult * dim units."""

    dim: Size
    depth: Count
    heads: Count
    dim_head: Size
    ff_mult: Count


class FlowConfig(Strict):
    """output_size: mel bins, as many as a token's embedding has."""

    vocab_size: Size
    spk_embed_dim: Size
    output_size: Size
    token_mel_ratio: Count
    pre_lookahead_len: int = Field(ge=0, le=1000)
    lookahead_channels: Size
    chunk_size: Size  # tokens in one attention chunk
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
    conv_pre_look_right: int = Field(ge=0, le=100)  # frames
    f0_channels: Size

    @property
    def samples_per_frame(self) -> int:
        return self.istft_hop * prod(self.upsample_rates)


class CosyVoice3Config(ModelConfig):
    family: Literal["cosyvoice3"] = "cosyvoice3"
    text: TextConfig = TextConfig()
    prompt: PromptConfig = PromptConfig()
    sampling: SamplingConfig
    llm: SpeechIds
    flow: FlowConfig
    vocoder: VocoderConfig

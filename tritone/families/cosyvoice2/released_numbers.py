"""CosyVoice2's numbers: from `cosyvoice2.yaml`, and from the weights where the file is silent."""

import re
from collections.abc import Iterable

from tritone.acoustic.solver_config import SolverConfig
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.config import (
    EstimatorConfig,
    FlowConfig,
    FlowEncoderConfig,
    VocoderConfig,
)
from tritone.llm.config import SamplingConfig


def flow_config(values: YamlValues, keys: Iterable[str]) -> FlowConfig:
    """keys: of `flow.pt`; the number of blocks after upsampling stands nowhere else."""
    flow, encoder = ("flow",), ("flow", "encoder")
    estimator = ("flow", "decoder", "estimator")
    params = ("flow", "decoder", "cfm_params", "content")
    for name, wanted in (("solver", "euler"), ("t_scheduler", "cosine")):
        found = values.value(*params, name)
        if found != wanted:
            raise ModelDirectoryError(f"{values.path}: {name} is {found!r}; only {wanted!r} works")
    channels = values.integers(*estimator, "channels")
    if len(channels) != 1:
        raise ModelDirectoryError(
            f"{values.path}: the estimator has channels {list(channels)}; CosyVoice2 has one width"
        )
    return FlowConfig(
        vocab_size=values.integer(*flow, "vocab_size"),
        input_size=values.integer(*flow, "input_size"),
        spk_embed_dim=values.integer(*flow, "spk_embed_dim"),
        output_size=values.integer(*flow, "output_size"),
        token_mel_ratio=values.integer(*flow, "token_mel_ratio"),
        pre_lookahead_len=values.integer(*flow, "pre_lookahead_len"),
        chunk_size=values.integer("chunk_size"),
        encoder=FlowEncoderConfig(
            output_size=values.integer(*encoder, "output_size"),
            attention_heads=values.integer(*encoder, "attention_heads"),
            linear_units=values.integer(*encoder, "linear_units"),
            num_blocks=values.integer(*encoder, "num_blocks"),
            num_up_blocks=_blocks(keys, r"encoder\.up_encoders\.(\d+)\."),
        ),
        estimator=EstimatorConfig(
            channels=channels[0],
            attention_head_dim=values.integer(*estimator, "attention_head_dim"),
            num_heads=values.integer(*estimator, "num_heads"),
            n_blocks=values.integer(*estimator, "n_blocks"),
            num_mid_blocks=values.integer(*estimator, "num_mid_blocks"),
        ),
        solver=SolverConfig(inference_cfg_rate=values.number(*params, "inference_cfg_rate")),
    )


def vocoder_config(values: YamlValues) -> VocoderConfig:
    hift = ("hift",)
    return VocoderConfig(
        in_channels=values.integer(*hift, "in_channels"),
        base_channels=values.integer(*hift, "base_channels"),
        nb_harmonics=values.integer(*hift, "nb_harmonics"),
        nsf_alpha=values.number(*hift, "nsf_alpha"),
        nsf_sigma=values.number(*hift, "nsf_sigma"),
        nsf_voiced_threshold=values.number(*hift, "nsf_voiced_threshold"),
        upsample_rates=values.integers(*hift, "upsample_rates"),
        upsample_kernel_sizes=values.integers(*hift, "upsample_kernel_sizes"),
        istft_n_fft=values.integer(*hift, "istft_params", "n_fft"),
        istft_hop=values.integer(*hift, "istft_params", "hop_len"),
        resblock_kernel_sizes=values.integers(*hift, "resblock_kernel_sizes"),
        resblock_dilation_sizes=values.integer_lists(*hift, "resblock_dilation_sizes"),
        source_resblock_kernel_sizes=values.integers(*hift, "source_resblock_kernel_sizes"),
        source_resblock_dilation_sizes=values.integer_lists(
            *hift, "source_resblock_dilation_sizes"
        ),
        lrelu_slope=values.number(*hift, "lrelu_slope"),
        audio_limit=values.number(*hift, "audio_limit"),
        f0_channels=values.integer(*hift, "f0_predictor", "cond_channels"),
    )


def sampling_config(values: YamlValues) -> SamplingConfig:
    """Repetition-aware sampling as the file gives it; its documented values where it does not."""
    where = ("llm", "sampling")
    if not values.has(*where):
        return SamplingConfig()
    return SamplingConfig(
        top_k=values.integer(*where, "top_k"),
        top_p=values.number(*where, "top_p"),
        repetition_window=values.integer(*where, "win_size"),
        repetition_threshold=values.number(*where, "tau_r"),
    )


def _blocks(keys: Iterable[str], pattern: str) -> int:
    indices = {int(match[1]) for match in (re.match(pattern, key) for key in keys) if match}
    if indices != set(range(len(indices))) or not indices:
        raise ModelDirectoryError(f"flow.pt: blocks {sorted(indices)} of {pattern} are not 0..n")
    return len(indices)

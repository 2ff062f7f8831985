"""The numbers of the released CosyVoice2-0.5B and Fun-CosyVoice3-0.5B."""

from typing import Any

from tritone.acoustic.solver_config import SolverConfig
from tritone.families.cosyvoice2.config import (
    CosyVoice2Config,
    EstimatorConfig,
    FlowConfig,
    FlowEncoderConfig,
    SpeechIds,
    TextConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice3 import config as cosyvoice3
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.llm.config import SamplingConfig

AnyConfig = CosyVoice2Config | CosyVoice3Config

FLOW = FlowConfig(
    vocab_size=6561,
    input_size=512,
    spk_embed_dim=192,
    output_size=80,
    token_mel_ratio=2,
    pre_lookahead_len=3,
    chunk_size=25,
    encoder=FlowEncoderConfig(
        output_size=512, attention_heads=8, linear_units=2048, num_blocks=6, num_up_blocks=4
    ),
    estimator=EstimatorConfig(
        channels=256, attention_head_dim=64, num_heads=8, n_blocks=4, num_mid_blocks=12
    ),
    solver=SolverConfig(),
)
VOCODER = VocoderConfig(
    in_channels=80,
    base_channels=512,
    nb_harmonics=8,
    nsf_alpha=0.1,
    nsf_sigma=0.003,
    nsf_voiced_threshold=10,
    upsample_rates=(8, 5, 3),
    upsample_kernel_sizes=(16, 11, 7),
    istft_n_fft=16,
    istft_hop=4,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
    source_resblock_kernel_sizes=(7, 7, 11),
    source_resblock_dilation_sizes=((1, 3, 5),) * 3,
    lrelu_slope=0.1,
    audio_limit=0.99,
    f0_channels=512,
)
_BODY: dict[str, Any] = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32_768,
}
COSYVOICE2 = CosyVoice2Config(
    sample_rate=24_000,
    text=TextConfig(),
    sampling=SamplingConfig(),
    llm=SpeechIds(
        **_BODY,
        vocab_size=158_336,
        speech_offset=151_663,
        speech_codes=6561,
        stop_ids=(158_224, 158_225, 158_226),
        sos_id=158_227,
        task_id=158_228,
    ),
    flow=FLOW,
    vocoder=VOCODER,
)
COSYVOICE3 = CosyVoice3Config(
    sample_rate=24_000,
    sampling=SamplingConfig(),
    llm=SpeechIds(
        **_BODY,
        vocab_size=158_720,
        speech_offset=151_924,
        speech_codes=6561,
        stop_ids=(158_486, 158_485, *range(158_487, 158_685)),
        all_stops_wait=True,
        sos_id=158_485,
        task_id=158_487,
    ),
    flow=cosyvoice3.FlowConfig(
        vocab_size=6561,
        spk_embed_dim=192,
        output_size=80,
        token_mel_ratio=2,
        pre_lookahead_len=3,
        lookahead_channels=1024,
        chunk_size=25,
        estimator=cosyvoice3.EstimatorConfig(dim=1024, depth=22, heads=16, dim_head=64, ff_mult=2),
        solver=SolverConfig(),
    ),
    vocoder=cosyvoice3.VocoderConfig(
        **VOCODER.model_dump(exclude={"free_phase"}), conv_pre_look_right=4
    ),
)
FULL_SIZE: dict[str, AnyConfig] = {size.family: size for size in (COSYVOICE2, COSYVOICE3)}

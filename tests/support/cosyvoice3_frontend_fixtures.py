"""Small CosyVoice3 model directories for tests of the front end: no network weights."""

import shutil
from pathlib import Path
from typing import Any

from frontend_fixtures import FRONTEND_GOLDEN, llm_config, voice
from paths import GOLDEN

from tritone.acoustic.solver_config import SolverConfig
from tritone.families.cosyvoice3.config import (
    CosyVoice3Config,
    EstimatorConfig,
    FlowConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice3.released_tokenizer import build_base_tokenizer
from tritone.families.cosyvoice3.voice import Voice
from tritone.llm.config import SamplingConfig

# Ids of the tiny checkpoint: 267 of the base, 278 added, then speech.
END_OF_PROMPT_ID = 267
OFFSET = 545


def model_config(**changes: Any) -> CosyVoice3Config:
    flow = FlowConfig(
        vocab_size=6561,
        spk_embed_dim=192,
        output_size=80,
        token_mel_ratio=2,
        pre_lookahead_len=3,
        lookahead_channels=16,
        chunk_size=25,
        estimator=EstimatorConfig(dim=16, depth=1, heads=2, dim_head=8, ff_mult=2),
        solver=SolverConfig(),
    )
    vocoder = VocoderConfig(
        in_channels=80,
        base_channels=16,
        nb_harmonics=8,
        nsf_alpha=0.1,
        nsf_sigma=0.003,
        nsf_voiced_threshold=10,
        upsample_rates=(8, 5, 3),
        upsample_kernel_sizes=(16, 11, 7),
        istft_n_fft=16,
        istft_hop=4,
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1,),),
        source_resblock_kernel_sizes=(7, 7, 11),
        source_resblock_dilation_sizes=((1,), (1,), (1,)),
        lrelu_slope=0.1,
        audio_limit=0.99,
        conv_pre_look_right=4,
        f0_channels=16,
    )
    return CosyVoice3Config(
        sample_rate=24000,
        sampling=SamplingConfig(),
        llm=llm_config(OFFSET),
        flow=flow,
        vocoder=vocoder,
        **changes,
    )


def byte_model(folder: Path, cloning: bool = True, **changes: Any) -> tuple[Path, CosyVoice3Config]:
    """A model directory with the tiny byte-level tokenizer and, for cloning, the stand-in ONNX."""
    blank_en = FRONTEND_GOLDEN / "llm_tiny" / "CosyVoice-BlankEN"
    build_base_tokenizer(blank_en).save(str(folder / "tokenizer.json"))
    if cloning:
        onnx = GOLDEN / "tiny_onnx"
        shutil.copy(onnx / "speech_tokenizer_v2.onnx", folder / "speech_tokenizer.onnx")
        shutil.copy(onnx / "campplus.onnx", folder / "speaker_encoder.onnx")
    return folder, model_config(**changes)


def cosyvoice3_voice(tokens: int = 10, transcript: str = "") -> Voice:
    return Voice(**vars(voice(tokens, transcript)))

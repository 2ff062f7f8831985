"""Small model directories for tests of the front end: its files only, no network weights."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from paths import GOLDEN

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
from tritone.families.cosyvoice2.released_tokenizer import END_OF_PROMPT, build_base_tokenizer
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.voices import VoiceStore, save_voice
from tritone.llm.config import SamplingConfig

FRONTEND_GOLDEN = GOLDEN / "llm_frontend"

# Ids of the tiny checkpoint: 284 text ids, then 6561 codes, 3 stops, sos and task_id.
OFFSET, SOS, TASK_ID = 284, 6848, 6849
END_OF_PROMPT_ID = 267


def llm_config(offset: int = OFFSET) -> SpeechIds:
    stops = offset + 6561
    return SpeechIds(
        vocab_size=-(-(stops + 5) // 128) * 128,
        speech_offset=offset,
        speech_codes=6561,
        stop_ids=(stops, stops + 1, stops + 2),
        sos_id=stops + 3,
        task_id=stops + 4,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
        max_position_embeddings=32768,
    )


def model_config(text: TextConfig, offset: int = OFFSET, **changes: Any) -> CosyVoice2Config:
    flow = FlowConfig(
        vocab_size=6561,
        input_size=16,
        spk_embed_dim=192,
        output_size=80,
        token_mel_ratio=2,
        pre_lookahead_len=3,
        chunk_size=25,
        encoder=FlowEncoderConfig(
            output_size=16, attention_heads=2, linear_units=16, num_blocks=1, num_up_blocks=1
        ),
        estimator=EstimatorConfig(
            channels=16, attention_head_dim=8, num_heads=2, n_blocks=1, num_mid_blocks=1
        ),
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
        f0_channels=16,
    )
    return CosyVoice2Config(
        sample_rate=24000,
        text=text,
        sampling=SamplingConfig(),
        llm=llm_config(offset),
        flow=flow,
        vocoder=vocoder,
        **changes,
    )


def byte_model(folder: Path, cloning: bool = True, **changes: Any) -> tuple[Path, CosyVoice2Config]:
    """A model directory with the tiny byte-level tokenizer and, for cloning, the stand-in ONNX."""
    blank_en = FRONTEND_GOLDEN / "llm_tiny" / "CosyVoice-BlankEN"
    build_base_tokenizer(blank_en).save(str(folder / "tokenizer.json"))
    if cloning:
        onnx = GOLDEN / "tiny_onnx"
        shutil.copy(onnx / "speech_tokenizer_v2.onnx", folder / "speech_tokenizer.onnx")
        shutil.copy(onnx / "campplus.onnx", folder / "speaker_encoder.onnx")
    return folder, model_config(TextConfig(instruct_end=END_OF_PROMPT), **changes)


def phoneme_model(folder: Path) -> tuple[Path, CosyVoice2Config]:
    """A model directory with phoneme tokens and the one voice `default`, which has no prompt."""
    for name in ("tokenizer.json", "phonemes.json"):
        shutil.copy(GOLDEN / "phoneme_voice" / name, folder / name)
    save_voice(VoiceStore(folder).path("default"), voice(tokens=0))
    text = TextConfig(pronunciation="hibari")
    return folder, model_config(text, offset=81, default_voice="default")


def voice(tokens: int = 10, transcript: str = "", seed: int = 0) -> Voice:
    random = np.random.default_rng(seed)
    return Voice(
        prompt_tokens=random.integers(0, 6561, tokens).astype(np.int32),
        prompt_mel=random.standard_normal((2 * tokens, 80)).astype(np.float32),
        embedding=random.standard_normal(192).astype(np.float32),
        transcript=transcript,
    )

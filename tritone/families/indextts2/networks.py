"""The networks of a checkpoint, by the files of their weights."""

from collections.abc import Callable, Mapping

from torch import nn

from tritone.families.indextts2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.flow import FlowNetwork
from tritone.families.indextts2.frontend import PROMPTER_FILE
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.voice_reader import (
    CODEC_FILE,
    CONDITIONING_FILE,
    SPEAKER_FILE,
    W2V_BERT_FILE,
)
from tritone.families.indextts2.w2v_bert import W2vBert


def networks(config: IndexTTS2Config) -> Mapping[str, Callable[[], nn.Module]]:
    """What makes each, without its weights."""
    gpt, reference = config.gpt, config.reference
    return {
        DECODER_FILE: lambda: Gpt(gpt),
        PROMPTER_FILE: lambda: Prompter(gpt),
        CONDITIONING_FILE: lambda: Conditioning(gpt),
        W2V_BERT_FILE: lambda: W2vBert(reference.w2v_bert),
        CODEC_FILE: lambda: SemanticCodec(reference.codec),
        SPEAKER_FILE: lambda: CamPlusPlus(reference.speaker),
        FLOW_FILE: lambda: FlowNetwork(config.flow),
        VOCODER_FILE: lambda: BigVGAN(config.vocoder),
    }

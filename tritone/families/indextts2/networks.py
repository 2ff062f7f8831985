"""The networks of a checkpoint, by the files of their weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from tritone.acoustic.weights import checked
from tritone.errors import ModelDirectoryError
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


def parameters(model_dir: Path, config: IndexTTS2Config) -> dict[str, int]:
    """File, without its ending -> how many values it has, of those that are there, all of whose
    names and shapes fit. Headers alone are read. Raises ModelDirectoryError that names every file
    in which something does not."""
    counts, problems = dict[str, int](), list[str]()
    for name, build in networks(config).items():
        if (path := model_dir / name).is_file():
            try:
                counts[path.stem] = checked(build, path).values
            except ModelDirectoryError as error:
                problems.append(str(error))
    if problems:
        raise ModelDirectoryError("; ".join(problems))
    return counts

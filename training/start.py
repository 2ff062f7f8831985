"""Stage 'start': take over the weights of an earlier voice, so that the stages go on from there.

The speech tokenizer and the speaker encoder stay as they are, and with them the meaning of every
speech code; the language model, the flow and the vocoder begin with what they had learned.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from training.config import VoiceConfig, of_kind
from training.factored import FactoredTable
from training.language_model import SpeechLanguageModel
from training.loop import START, save_frozen
from training.speaker_encoder import SpeakerEncoder
from training.speech_tokenizer import SpeechEncoder, WindowBlock
from training.text_tokens import TextTokens
from training.train_flow import TrainedFlow
from training.train_vocoder import hold_source
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.cosyvoice2.acoustics import load_hift, load_network
from tritone.families.cosyvoice2.config import CosyVoice2Config, FlowConfig
from tritone.families.cosyvoice2.encoder_files import SPEAKER_ENCODER_NAME, SPEECH_TOKENIZER_NAME
from tritone.frontend.text.tokenizer import TOKENIZER_NAME
from tritone.llm.checkpoint import EMBEDDING, FINAL_NORM, HEAD, HEAD_BIAS, LLM_DIR, WEIGHTS_NAME

FROZEN = ("tokenizer", "speaker")  # stages that have nothing left to do


def begin(work: Path, voice: VoiceConfig) -> None:
    """Write what the model directory `voice.start` holds where the stages look for it."""
    if voice.start is None:
        return
    config = CosyVoice2Config.read(voice.start)
    shutil.copyfile(voice.start / TOKENIZER_NAME, work / TOKENIZER_NAME)
    encoder, speaker = SpeechEncoder(voice.tokenizer), SpeakerEncoder(voice.speaker_encoder)
    read_onnx(voice.start / SPEECH_TOKENIZER_NAME, _matrices_of_tokenizer(encoder))
    read_onnx(voice.start / SPEAKER_ENCODER_NAME, _matrices_of_speaker(speaker))
    save_frozen(work / "tokenizer", {f"encoder.{k}": v for k, v in encoder.state_dict().items()})
    save_frozen(work / "speaker", {f"encoder.{k}": v for k, v in speaker.state_dict().items()})
    if voice.family == "cosyvoice2":
        _begin_networks(work, voice, voice.start, config)
    for stage in FROZEN:
        (work / "done").mkdir(exist_ok=True)
        (work / "done" / stage).touch()


def _begin_networks(
    work: Path, voice: VoiceConfig, model_dir: Path, config: CosyVoice2Config
) -> None:
    spelling = TextTokens(work / TOKENIZER_NAME).spelling()
    _save_start(work / "lm", language_model(voice, spelling, model_dir, config))
    _save_start(work / "flow", _flow(voice, load_network(model_dir, config)))
    vocoder = load_hift(model_dir, config)
    hold_source(vocoder)
    _save_start(work / "vocoder", vocoder)


def _save_start(folder: Path, module: nn.Module) -> None:
    folder.mkdir(exist_ok=True)
    torch.save(module.state_dict(), folder / START)


def language_model(
    voice: VoiceConfig, spelling: Tensor, model_dir: Path, config: CosyVoice2Config
) -> SpeechLanguageModel:
    """The language model of a model directory as it is trained."""
    model = SpeechLanguageModel(voice.language_model, spelling)
    stored, ids = Checkpoint(model_dir / LLM_DIR / WEIGHTS_NAME), config.llm

    def rows(name: str, begin: int, count: int) -> Tensor:
        return torch.from_numpy(stored.float32(name)[begin : begin + count])

    speech = ids.speech_offset, ids.speech_head_size
    unfold(model.text, rows(EMBEDDING, 0, len(model.text.features)))
    unfold(model.speech, rows(EMBEDDING, *speech))
    unfold(model.head, rows(HEAD, *speech))
    state = model.state_dict()
    state["head_bias"] = rows(HEAD_BIAS, *speech)
    state["marks"] = torch.cat([rows(EMBEDDING, i, 1) for i in (ids.sos_id, ids.task_id)])
    state["norm.weight"] = torch.from_numpy(stored.float32(FINAL_NORM))
    for name in state:
        if name.startswith("layers."):
            _, layer, part = name.split(".", 2)
            group = {"q": "self_attn.", "k": "self_attn.", "v": "self_attn.", "o": "self_attn."}
            group |= {"gate": "mlp.", "up": "mlp.", "down": "mlp."}
            full = f"model.layers.{layer}.{group.get(part.split('_')[0], '')}{part}"
            state[name] = torch.from_numpy(stored.float32(full))
    model.load_state_dict(state)
    return model


@torch.no_grad()
def unfold(table: FactoredTable, rows: Tensor) -> None:
    """Make a table give `rows`: what the features explain in its factors, the rest apart."""
    factors = torch.linalg.lstsq(table.features, rows, driver="gelsd").solution
    table.factors.copy_(factors)
    table.residual.copy_(rows - table.features @ factors)


def _flow(voice: VoiceConfig, network: nn.Module) -> TrainedFlow:
    trained = TrainedFlow(of_kind(FlowConfig, voice.flow.model))
    trained.flow.load_state_dict(network.state_dict())
    unfold(trained.codes, trained.flow.token_embedding.weight)
    return trained


Layers = Iterator[nn.Module]


def _matrices_of_tokenizer(encoder: SpeechEncoder) -> Layers:
    yield encoder.input
    yield from _of_blocks(encoder.at_frames)
    yield encoder.down
    yield from _of_blocks(encoder.at_tokens)
    yield from (encoder.norm, encoder.output)


def _of_blocks(blocks: nn.Sequential) -> Layers:
    for block in blocks:
        assert isinstance(block, WindowBlock)
        yield from (block.norm, block.expand, block.contract)


def _matrices_of_speaker(encoder: SpeakerEncoder) -> Layers:
    for conv, norm in zip(encoder.convs, encoder.norms, strict=True):
        yield from (conv, norm)
    yield encoder.output


@torch.no_grad()
def read_onnx(path: Path, layers: Layers) -> None:
    """Fill layers from the constants of a graph that `onnx_export` wrote, in its order."""
    constants = iter(
        [
            value
            for value in map(numpy_helper.to_array, onnx.load(path).graph.initializer)
            if value.dtype in (np.int8, np.float32) and value.ndim
        ]
    )
    for layer in layers:
        weight = next(constants)
        if weight.dtype == np.int8:
            scale = next(constants)
            weight = weight.astype(np.float32) * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        found, wanted = torch.from_numpy(np.array(weight)), layer.get_parameter("weight")
        if found.ndim == wanted.ndim + 1:  # a matrix over a window of frames, written as taps
            found = found.transpose(1, 2).flatten(1)
        wanted.copy_(found)
        layer.get_parameter("bias").copy_(torch.from_numpy(np.array(next(constants))))

"""The released files before the flow to those of a model directory."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tritone.acoustic.weights import check_fit, outline
from tritone.checkpoints.atomic_write import write_json, written_whole
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.frontend import PROMPTER_FILE, TOKENIZER_FILE
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.reference_config import W2vBertConfig
from tritone.families.indextts2.released_front_numbers import (
    codec_config,
    gpt_config,
    speaker_config,
    w2v_bert_config,
)
from tritone.families.indextts2.released_gpt import (
    GPT_FILE,
    conditioning_weights,
    decoder_weights,
    prompter_weights,
)
from tritone.families.indextts2.released_reference import (
    STATISTICS_FILE,
    codec_weights,
    speaker_weights,
    statistics,
    unused_of_w2v_bert,
    w2v_bert_weights,
)
from tritone.families.indextts2.text_glossary import GLOSSARY_NAME, read_glossary
from tritone.families.indextts2.text_tokenizer import PieceTokenizer
from tritone.families.indextts2.voice_reader import (
    CODEC_FILE,
    CONDITIONING_FILE,
    SPEAKER_FILE,
    W2V_BERT_FILE,
)
from tritone.families.indextts2.w2v_bert import W2vBert

DECODER_FILE = "gpt.safetensors"
# of the release, where upstream looks for them
YAML, PIECES, GLOSSARY = "config.yaml", "bpe.model", "glossary.yaml"
W2V_BERT = "hf_cache/w2v-bert-2.0/model.safetensors"
W2V_BERT_NUMBERS = "hf_cache/w2v-bert-2.0/config.json"
CODEC = "hf_cache/semantic_codec_model.safetensors"
SPEAKER = "hf_cache/campplus_cn_common.bin"

Build = Callable[[], nn.Module]


class FrontConversion:
    """The steps of the front half from one release to one model directory.

    A step returns its numbers; it raises ModelDirectoryError for anything in the release that is
    not as it should be.
    """

    def __init__(self, released: Path, target: Path) -> None:
        self._released, self._target = released, target
        self._values = YamlValues(released / YAML)

    def steps(self) -> list[Step]:
        gpt = [DECODER_FILE, PROMPTER_FILE, CONDITIONING_FILE]
        glossary = [GLOSSARY] if (self._released / GLOSSARY).is_file() else []
        w2v_bert = [W2V_BERT, W2V_BERT_NUMBERS, STATISTICS_FILE]
        return [
            self._step("text", self.text, [PIECES, *glossary], [TOKENIZER_FILE]),
            self._step("language model", self.gpt, [GPT_FILE, W2V_BERT_NUMBERS, YAML], gpt),
            self._step("speech features", self.w2v_bert, w2v_bert, [W2V_BERT_FILE]),
            self._step("semantic codec", self.codec, [CODEC, YAML], [CODEC_FILE]),
            self._step("speaker encoder", self.speaker, [SPEAKER], [SPEAKER_FILE]),
        ]

    def text(self) -> dict[str, Any]:
        PieceTokenizer(self._released / PIECES)  # refuses what is none
        with written_whole(self._target / TOKENIZER_FILE) as path:
            shutil.copyfile(self._released / PIECES, path)
        if (self._released / GLOSSARY).is_file():
            terms = YamlValues(self._released / GLOSSARY).top
            write_json(self._target / GLOSSARY_NAME, terms)
            read_glossary(self._target / GLOSSARY_NAME)
        return {}

    def gpt(self) -> dict[str, Any]:
        features = self._w2v_bert_config().width
        weights = _state(self._released / GPT_FILE, mmap=True)
        config = gpt_config(self._values, weights, features)
        decoder, prompter = decoder_weights(weights), prompter_weights(weights)
        self._save(decoder, DECODER_FILE, lambda: Gpt(config))
        self._save(prompter, PROMPTER_FILE, lambda: Prompter(config))
        self._save(conditioning_weights(weights), CONDITIONING_FILE, lambda: Conditioning(config))
        return config.model_dump(mode="json")

    def w2v_bert(self) -> dict[str, Any]:
        config = self._w2v_bert_config()
        path = self._released / W2V_BERT
        weights = _read(path, lambda key: not unused_of_w2v_bert(key, config.layers))
        state = w2v_bert_weights(weights, config.layers)
        state |= statistics(_state(self._released / STATISTICS_FILE))
        self._save(state, W2V_BERT_FILE, lambda: W2vBert(config))
        return config.model_dump(mode="json")

    def codec(self) -> dict[str, Any]:
        config = codec_config(self._values)
        state = codec_weights(_read(self._released / CODEC, lambda key: True))
        self._save(state, CODEC_FILE, lambda: SemanticCodec(config))
        return config.model_dump(mode="json")

    def speaker(self) -> dict[str, Any]:
        weights = _state(self._released / SPEAKER)
        config = speaker_config(weights)
        self._save(speaker_weights(weights), SPEAKER_FILE, lambda: CamPlusPlus(config))
        return config.model_dump(mode="json")

    def _w2v_bert_config(self) -> W2vBertConfig:
        return w2v_bert_config(self._released / W2V_BERT_NUMBERS, W2vBertConfig().layers)

    def _step(
        self, name: str, run: Callable[[], dict[str, Any]], inputs: list[str], outputs: list[str]
    ) -> Step:
        files = [self._released / file for file in inputs]
        for file in files:
            if not file.is_file():
                raise ModelDirectoryError(f"{file} does not exist; download the release again")
        return Step(name, run, files, [self._target / file for file in outputs])

    def _save(self, state: Mapping[str, Tensor], name: str, build: Build) -> None:
        check_fit(outline(build, name), state, name)
        with written_whole(self._target / name) as path:
            save_file({key: value.contiguous() for key, value in state.items()}, path)
            path.chmod(0o644)  # safetensors writes for the owner alone; servers run as another user


def _state(path: Path, *, mmap: bool = False) -> dict[str, Tensor]:
    """Of a file of torch.save; mmap: its tensors stay there until they are read."""
    content = plain_tensors(path, mmap=mmap)
    state = content.get("model", content)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelDirectoryError(f"{path} is not a plain state dict of tensors")
    return state


def _read(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Tensors of a safetensors file, those that are wanted."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if wanted(key)}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelDirectoryError(f"{path} is not a safetensors file: {error}") from error

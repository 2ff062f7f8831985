"""The released files before the flow to those of a model directory."""

import shutil
from typing import Any

from safetensors.torch import save_file

from tritone.checkpoints.atomic_write import write_json, written_whole
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.torch_file import plain_matrix
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2 import released_files as files
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.conversion_part import ConversionPart, read_some, read_state
from tritone.families.indextts2.emotion import EMOTIONS, EMOTIONS_FILE, STYLES, VECTORS
from tritone.families.indextts2.frontend import PROMPTER_FILE, TOKENIZER_FILE
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.reference_config import W2vBertConfig
from tritone.families.indextts2.released_front_numbers import (
    codec_config,
    gpt_config,
    speaker_config,
    w2v_bert_config,
)
from tritone.families.indextts2.released_gpt import (
    conditioning_weights,
    decoder_weights,
    prompter_weights,
)
from tritone.families.indextts2.released_reference import (
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


class FrontConversion(ConversionPart):
    """The steps of the front half."""

    def steps(self) -> list[Step]:
        gpt = [files.GPT, files.W2V_BERT_NUMBERS, files.YAML]
        written = [DECODER_FILE, PROMPTER_FILE, CONDITIONING_FILE]
        glossary = [files.GLOSSARY] if (self._released / files.GLOSSARY).is_file() else []
        emotions = [files.EMOTION_STYLES, files.EMOTION_VECTORS, files.YAML]
        w2v_bert = [files.W2V_BERT, files.W2V_BERT_NUMBERS, files.STATISTICS]
        return [
            self._step("text", self.text, [files.PIECES, *glossary], [TOKENIZER_FILE]),
            self._step("language model", self.gpt, gpt, written),
            self._step("emotions", self.emotions, emotions, [EMOTIONS_FILE]),
            self._step("speech features", self.w2v_bert, w2v_bert, [W2V_BERT_FILE]),
            self._step("semantic codec", self.codec, [files.CODEC, files.YAML], [CODEC_FILE]),
            self._step("speaker encoder", self.speaker, [files.SPEAKER], [SPEAKER_FILE]),
        ]

    def text(self) -> dict[str, Any]:
        PieceTokenizer(self._released / files.PIECES)  # refuses what is none
        with written_whole(self._target / TOKENIZER_FILE) as path:
            shutil.copyfile(self._released / files.PIECES, path)
        if (self._released / files.GLOSSARY).is_file():
            terms = YamlValues(self._released / files.GLOSSARY).top
            write_json(self._target / GLOSSARY_NAME, terms)
            read_glossary(self._target / GLOSSARY_NAME)
        return {}

    def gpt(self) -> dict[str, Any]:
        features = self._w2v_bert_config().width
        weights = read_state(self._released / files.GPT, part="model", mmap=True)
        config = gpt_config(self._values, weights, features)
        decoder, prompter = decoder_weights(weights), prompter_weights(weights)
        self._save(decoder, DECODER_FILE, lambda: Gpt(config))
        self._save(prompter, PROMPTER_FILE, lambda: Prompter(config))
        self._save(conditioning_weights(weights), CONDITIONING_FILE, lambda: Conditioning(config))
        return config.model_dump(mode="json")

    def emotions(self) -> dict[str, Any]:
        """Example speakers of each emotion, and how many there are."""
        counts = self._values.integers("emo_num")
        names = {STYLES: files.EMOTION_STYLES, VECTORS: files.EMOTION_VECTORS}
        tables = {ours: plain_matrix(self._released / name) for ours, name in names.items()}
        for ours, name in names.items():
            if len(tables[ours]) != sum(counts) or len(counts) != len(EMOTIONS):
                raise ModelDirectoryError(
                    f"{name} has {len(tables[ours])} rows; {self._values.path}: emo_num counts "
                    f"{sum(counts)} for {len(counts)} emotions, which are {len(EMOTIONS)}"
                )
        with written_whole(self._target / EMOTIONS_FILE) as path:
            save_file({name: table.float().contiguous() for name, table in tables.items()}, path)
            path.chmod(0o644)  # safetensors writes for the owner alone; servers run as another
        return {"examples": list(counts)}

    def w2v_bert(self) -> dict[str, Any]:
        config = self._w2v_bert_config()
        path = self._released / files.W2V_BERT
        weights = read_some(path, lambda key: not unused_of_w2v_bert(key, config.layers))
        state = w2v_bert_weights(weights, config.layers)
        state |= statistics(read_state(self._released / files.STATISTICS, part="model"))
        self._save(state, W2V_BERT_FILE, lambda: W2vBert(config))
        return config.model_dump(mode="json")

    def codec(self) -> dict[str, Any]:
        config = codec_config(self._values)
        state = codec_weights(read_some(self._released / files.CODEC, lambda key: True))
        self._save(state, CODEC_FILE, lambda: SemanticCodec(config))
        return config.model_dump(mode="json")

    def speaker(self) -> dict[str, Any]:
        weights = read_state(self._released / files.SPEAKER, part="model")
        config = speaker_config(weights)
        self._save(speaker_weights(weights), SPEAKER_FILE, lambda: CamPlusPlus(config))
        return config.model_dump(mode="json")

    def _w2v_bert_config(self) -> W2vBertConfig:
        return w2v_bert_config(self._released / files.W2V_BERT_NUMBERS, W2vBertConfig().layers)

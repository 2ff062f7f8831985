"""A released CosyVoice3 directory to a model directory."""

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer
from torch import Tensor

from tritone.config import Strict
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2 import convert as common
from tritone.families.cosyvoice2 import released_files as names
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.convert import Parts
from tritone.families.cosyvoice2.voice import Decode
from tritone.families.cosyvoice3 import released_model
from tritone.families.cosyvoice3.config import CosyVoice3Config, TextConfig
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.hift import HiFT
from tritone.families.cosyvoice3.merge_llm import copy_merged, merge_llm
from tritone.families.cosyvoice3.released_flow import flow_weights
from tritone.families.cosyvoice3.released_tokenizer import build_base_tokenizer
from tritone.families.cosyvoice3.released_vocoder import vocoder_weights
from tritone.families.cosyvoice3.voice import Voice, import_spk2info


class Extras(common.Extras):
    text: TextConfig | None = None


class Conversion(common.Conversion):
    """The steps from one source to one model directory."""

    config = CosyVoice3Config
    extras = Extras

    def _text_config(self) -> Strict:
        return TextConfig()

    def _tokenizer(self, base: Path) -> Tokenizer:
        return build_base_tokenizer(base)

    def _merged_llm(self, folder: Path, text_ids: int) -> SpeechIds:
        source, dtype = self._source, self._options.dtype
        if source.merged_llm:
            return copy_merged(source.merged_llm, folder, dtype=dtype)
        llm, base = source.folder / names.LLM, source.folder / names.BASE_LLM
        return merge_llm(llm, base, folder, text_ids=text_ids, dtype=dtype)

    def _flow_parts(self, released: Mapping[str, Tensor]) -> Parts:
        config = self._solved(released_model.flow_config(self._values))
        weights = flow_weights(released, config.estimator.dim_head)
        return config, weights, lambda: FlowNetwork(config)

    def _vocoder_parts(self, released: Mapping[str, Tensor]) -> Parts:
        config = released_model.vocoder_config(self._values)
        return config, vocoder_weights(released, config), lambda: HiFT(config)

    def _import_voices(self, path: Path, decode: Decode) -> Mapping[str, Voice]:
        return import_spk2info(path, decode, TextConfig())

    def _read_extras(self) -> common.Extras:
        extras = super()._read_extras()
        if "free_phase" in extras.model_fields_set:
            raise ModelDirectoryError(
                f"{self._source.folder / names.EXTRAS} has free_phase, which is CosyVoice2's "
                "alone: leave it out"
            )
        return extras

"""CosyVoice3: Qwen2 speech LM, diffusion transformer flow matching, causal HiFT vocoder.

It is built on CosyVoice2's modules where both generations are alike. Importing this imports no
torch: what needs it is imported when it is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritone.arrays import Int32
from tritone.families.contract import Frontend, VoiceMaker
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.rules import CosyVoice3Rules
from tritone.families.cosyvoice3.voice import Voice
from tritone.families.other_solver import with_solver
from tritone.families.with_acoustics import WithAcoustics
from tritone.llm.contract import Prompt
from tritone.synthesis.limits import Limits
from tritone.synthesis.rules import Hops

if TYPE_CHECKING:
    from tritone.checkpoints.conversion import ConvertOptions
    from tritone.checkpoints.release import Release
    from tritone.engines.sources import GraphSource
    from tritone.families.cosyvoice2.frontend import PromptFrontend
    from tritone.families.cosyvoice2.reference import ReferenceReader
    from tritone.frontend.text.settings import TextSettings


class CosyVoice3(WithAcoustics[CosyVoice3Config]):
    name = "cosyvoice3"
    config = CosyVoice3Config
    voice = Voice
    with_solver = staticmethod(with_solver)

    @property
    def releases(self) -> "Sequence[Release]":
        from tritone.families.cosyvoice3.released_files import COSYVOICE3

        return (COSYVOICE3,)

    def language_model(self, config: CosyVoice3Config) -> CosyVoice3Config:
        return config

    def example_prompt(self, config: CosyVoice3Config, text_ids: Int32) -> Prompt:
        llm = config.llm
        return Prompt(np.array([llm.sos_id, *text_ids.tolist(), llm.task_id], dtype=np.int32))

    def rules(self, config: CosyVoice3Config, hops: Hops) -> CosyVoice3Rules:
        return CosyVoice3Rules(config, hops)

    def load_frontend(
        self, model_dir: Path, config: CosyVoice3Config, limits: Limits, text: "TextSettings"
    ) -> Frontend:
        from tritone.families.cosyvoice3.frontend import CosyVoice3Frontend

        return CosyVoice3Frontend(model_dir, config, limits, text)

    def recognises(self, released: Path) -> bool:
        from tritone.families.cosyvoice3.released_files import YAML

        return (released / YAML).is_file()

    def convert(self, released: Path, model_dir: Path, options: "ConvertOptions") -> Iterator[str]:
        from tritone.families.cosyvoice2.released_files import open_source
        from tritone.families.cosyvoice2.self_check import self_check
        from tritone.families.cosyvoice3.convert import Conversion
        from tritone.families.cosyvoice3.released_files import LAYOUT

        source = open_source(released, options.merged_llm, LAYOUT)
        Conversion(source, model_dir, options).run()
        yield from self_check(model_dir, self, options.graphs)

    def graph_source(self, model_dir: Path, config: CosyVoice3Config) -> "GraphSource":
        from tritone.families.cosyvoice3.graph_source import graph_source

        return graph_source(model_dir, config)

    def voice_fault(self, config: CosyVoice3Config, voice: Voice) -> str:
        return voice.fault(config.llm.speech_codes)

    def encoders(self, model_dir: Path) -> str:
        from tritone.families.cosyvoice2.encoder_files import encoders_digest

        return encoders_digest(model_dir)

    def load_voice_maker(self, model_dir: Path, config: CosyVoice3Config) -> VoiceMaker:
        from tritone.families.cosyvoice2.voice_maker import ReferenceVoiceMaker

        def frontend(reader: "ReferenceReader") -> "PromptFrontend":
            from tritone.families.cosyvoice3.frontend import CosyVoice3Frontend
            from tritone.frontend.text.settings import text_settings

            return CosyVoice3Frontend(model_dir, config, text=text_settings(), reader=reader)

        return ReferenceVoiceMaker(model_dir, config, Voice, frontend)

    def import_voices(
        self, path: Path, model_dir: Path, config: CosyVoice3Config
    ) -> Mapping[str, Voice]:
        from tritone.families.cosyvoice2.text_tokenizer import load_tokenizer
        from tritone.families.cosyvoice3.voice import import_spk2info

        decode = load_tokenizer(model_dir, config.llm).decode
        return import_spk2info(path, decode, config.text)


FAMILY = CosyVoice3()

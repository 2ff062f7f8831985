"""IndexTTS2: GPT-2 over semantic codes, flow matching by a diffusion transformer, BigVGAN.

Importing this imports no torch: what needs it is imported when it is loaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritone.arrays import Int32
from tritone.errors import EnvironmentProblem
from tritone.families.contract import Frontend, VoiceMaker
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.rules import IndexTTS2Rules
from tritone.families.indextts2.voice import Voice
from tritone.families.other_solver import with_solver
from tritone.families.with_acoustics import WithAcoustics
from tritone.llm.contract import Prompt
from tritone.llm.runtimes import Runtime
from tritone.synthesis.limits import Limits
from tritone.synthesis.rules import Hops

if TYPE_CHECKING:
    from tritone.checkpoints.conversion import ConvertOptions
    from tritone.checkpoints.licences import Licence
    from tritone.checkpoints.release import Release
    from tritone.frontend.text.settings import TextSettings
    from tritone.loading.needs import Need

_RUNTIMES = {
    "cpu": Runtime("tritone.families.indextts2.gpt_runtime", "open_gpt", "cpu", "gpu-torch"),
    "gpu-torch": Runtime(
        "tritone.families.indextts2.gpt_torch", "open_gpt_torch", "gpu-torch", "cpu"
    ),
}


class IndexTTS2(WithAcoustics[IndexTTS2Config]):
    name = "indextts2"
    config = IndexTTS2Config
    voice = Voice
    checks_shapes = True
    with_solver = staticmethod(with_solver)

    @property
    def licences(self) -> "Sequence[Licence]":
        from tritone.families.indextts2.licences import LICENCES

        return LICENCES

    @property
    def releases(self) -> "Sequence[Release]":
        from tritone.families.indextts2.release import INDEXTTS2

        return (INDEXTTS2,)

    def language_model(self, config: IndexTTS2Config) -> IndexTTS2Config:
        return config

    def example_prompt(self, config: IndexTTS2Config, text_ids: Int32) -> Prompt:
        """Of the size that the text has; its rows are no text."""
        rows = config.gpt.fewest_prompt + len(text_ids)
        return Prompt(embeddings=np.zeros((rows, config.gpt.width), np.float32))

    def runtime(self, usual: Runtime) -> Runtime:
        if usual.profile not in _RUNTIMES:
            raise EnvironmentProblem(
                f"profile {usual.profile}: IndexTTS2's language model runs on ONNX Runtime and on "
                f"torch; use --profile {' or '.join(_RUNTIMES)}"
            )
        return _RUNTIMES[usual.profile]

    def rules(self, config: IndexTTS2Config, hops: Hops) -> IndexTTS2Rules:
        return IndexTTS2Rules(config, hops)

    def load_frontend(
        self, model_dir: Path, config: IndexTTS2Config, limits: Limits, text: "TextSettings"
    ) -> Frontend:
        from tritone.families.indextts2.frontend import IndexTTS2Frontend

        return IndexTTS2Frontend(model_dir, config, limits, text)

    def recognises(self, released: Path) -> bool:
        from tritone.families.indextts2.released_files import MARKS

        return all((released / name).is_file() for name in MARKS)

    def convert(self, released: Path, model_dir: Path, options: "ConvertOptions") -> Iterator[str]:
        from tritone.families.indextts2.convert import Conversion
        from tritone.families.indextts2.self_check import self_check

        Conversion(released, model_dir, options).run()
        yield from self_check(model_dir, self, options.graphs)

    def memory(
        self, model_dir: Path, profile: str, language_model: Mapping[str, Any]
    ) -> "Sequence[Need]":
        from tritone.families.indextts2.memory import needs
        from tritone.llm.onnx.graph_files import USUAL_PRECISION

        on_cpu = profile == _RUNTIMES["cpu"].profile
        precision = language_model.get("precision", USUAL_PRECISION) if on_cpu else None
        return tuple(needs(model_dir, precision, elsewhere=bool(language_model.get("url"))))

    def check_shapes(self, model_dir: Path, config: IndexTTS2Config) -> None:
        from tritone.families.indextts2.networks import parameters

        parameters(model_dir, config)

    def voice_fault(self, config: IndexTTS2Config, voice: Voice) -> str:
        return voice.fault(config.gpt, config.reference)

    def encoders(self, model_dir: Path) -> str:
        from tritone.families.indextts2.voice_reader import files_digest

        return files_digest(model_dir)

    def load_voice_maker(self, model_dir: Path, config: IndexTTS2Config) -> VoiceMaker:
        from tritone.families.indextts2.voice_maker import RecordingVoiceMaker

        return RecordingVoiceMaker(model_dir, config)


FAMILY = IndexTTS2()

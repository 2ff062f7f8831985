"""A released IndexTTS2 folder to a model directory, one file in memory at a time."""

from pathlib import Path

from pydantic import ValidationError

from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.conversion import ConvertOptions, run_steps
from tritone.checkpoints.licences import write_licences
from tritone.compute import DTYPES
from tritone.config import CONFIG_NAME, problems
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.convert_acoustic import AcousticConversion
from tritone.families.indextts2.convert_emotion_model import EmotionModelConversion
from tritone.families.indextts2.convert_front import FrontConversion
from tritone.families.indextts2.gpt_runtime import ensure_gpt_graph
from tritone.families.indextts2.licences import LICENCES
from tritone.families.indextts2.released_files import check_release


class Conversion:
    """The steps from one release to one model directory."""

    def __init__(self, released: Path, target: Path, options: ConvertOptions) -> None:
        """Raises ModelDirectoryError for a release that is not whole and for an option that has no
        effect here, before any work."""
        if options.merged_llm:
            raise ModelDirectoryError(
                f"merged_llm is {options.merged_llm}: IndexTTS2's language model is always the one "
                "of the release"
            )
        check_release(released)
        self._released, self._target = released, target
        self._graphs = options.graphs
        self._dtype = DTYPES.get(options.dtype or "")

    def run(self) -> IndexTTS2Config:
        """Convert what is not converted yet, write config.json, and build the graphs last.

        Raises ModelDirectoryError for anything in the release that is not as it should be.
        """
        (self._target / "voices").mkdir(parents=True, exist_ok=True)
        parts = [
            part(self._released, self._target, self._dtype)
            for part in (FrontConversion, EmotionModelConversion, AcousticConversion)
        ]
        results = run_steps([step for part in parts for step in part.steps()], self._target)
        content = {
            "gpt": results["language model"],
            "drawing": {"beams": 1},
            "reference": {
                "w2v_bert": results["speech features"],
                "codec": results["semantic codec"],
                "speaker": results["speaker encoder"],
            },
            "emotions": results["emotions"]["examples"],
            "emotion_model": results.get("emotion model"),
            "flow": results["flow"],
            "vocoder": results["vocoder"],
        }
        try:
            config = IndexTTS2Config.model_validate(content)
        except ValidationError as error:
            raise ModelDirectoryError(
                f"{self._released}: its files do not belong together: {problems(error)}"
            ) from error
        write_licences(self._target, LICENCES, self._released)
        write_json(self._target / CONFIG_NAME, config.to_content())
        for precision in self._graphs:
            ensure_gpt_graph(self._target, config, precision)
        return config

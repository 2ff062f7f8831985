"""Recordings to voices that are kept, in the way of a request that brings its own."""

from pathlib import Path

from tritone.arrays import Float32
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.voice import Voice
from tritone.families.indextts2.voice_reader import load_voice_reader, missing_files
from tritone.synthesis.limits import DEFAULT_LIMITS, check
from tritone.synthesis.values import SynthesisRequest


class RecordingVoiceMaker:
    """A `tritone.families.contract.VoiceMaker`. The model goes without transcripts: one is kept as
    it was written."""

    def __init__(self, model_dir: Path, config: IndexTTS2Config) -> None:
        """Raises ModelDirectoryError where the model directory lacks an encoder."""
        if missing := missing_files(model_dir):
            raise ModelDirectoryError(
                f"{model_dir} lacks {' and '.join(missing)}, which turn recordings into voices; "
                "convert the release again"
            )
        self._reader = load_voice_reader(model_dir, config)

    def spoken(self, transcript: str) -> str:
        return transcript

    def voice(self, wav: Float32, rate: int, transcript: str) -> tuple[Voice, tuple[str, ...]]:
        check(SynthesisRequest(text="-", reference_wav=wav, reference_rate=rate), DEFAULT_LIMITS)
        voice = self._reader.voice(wav, rate, DEFAULT_LIMITS.min_reference_seconds)
        return voice, voice.notes

    def likeness(self, wav: Float32, rate: int) -> float | None:
        return self._reader.likeness(wav, rate, DEFAULT_LIMITS.min_reference_seconds)

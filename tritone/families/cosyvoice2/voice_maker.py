"""Recordings to voices that are kept, in the way of a request that brings its own."""

from dataclasses import replace
from pathlib import Path

from tritone.arrays import Float32
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.encoder_files import missing_models
from tritone.families.cosyvoice2.frontend import PromptFrontend
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.audio.recording import speech_in
from tritone.frontend.audio.resample import resample
from tritone.frontend.audio.speakers import likeness
from tritone.synthesis.limits import DEFAULT_LIMITS
from tritone.synthesis.values import SynthesisRequest

_REQUEST = SynthesisRequest(text="-")  # whose words do not matter


class ReferenceVoiceMaker:
    """A `tritone.families.contract.VoiceMaker` around a front end: the same steps, and so the same
    tokens, as for a request."""

    def __init__(self, model_dir: Path, frontend: PromptFrontend) -> None:
        """Raises ModelDirectoryError where the model directory lacks an encoder."""
        if missing := missing_models(model_dir):
            raise ModelDirectoryError(
                f"{model_dir} lacks {' and '.join(missing)}, which turn recordings into voices; "
                "convert the release again, with these files in it"
            )
        self._frontend = frontend

    def spoken(self, transcript: str) -> str:
        return self._frontend.transcript_of(replace(_REQUEST, reference_text=transcript))

    def voice(self, wav: Float32, rate: int, transcript: str) -> tuple[Voice, tuple[str, ...]]:
        request = replace(
            _REQUEST,
            reference_wav=wav,
            reference_rate=rate,
            reference_text=transcript or None,
        )
        voice, _ = self._frontend.voice_of(request)
        return voice, voice.notes

    def likeness(self, wav: Float32, rate: int) -> float | None:
        speech = speech_in(wav, rate, DEFAULT_LIMITS.min_reference_seconds)
        encode = self._frontend.cloner.reader.encoder
        return likeness(resample(speech.wav, rate, SPEECH_RATE), SPEECH_RATE, encode)

"""Recordings to voices that are kept, in the way of a request that brings its own."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.arrays import Float32
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.cloning import Cloner, Cutting
from tritone.families.cosyvoice2.encoder_files import missing_models
from tritone.families.cosyvoice2.reference import ReferenceReader, load_reader
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.audio.recording import speech_in
from tritone.frontend.audio.resample import resample
from tritone.frontend.audio.speakers import likeness
from tritone.synthesis.limits import DEFAULT_LIMITS, check, is_given
from tritone.synthesis.values import SynthesisRequest

if TYPE_CHECKING:  # it imports what reads text
    from tritone.families.cosyvoice2.frontend import FrontendConfig, PromptFrontend

_REQUEST = SynthesisRequest(text="-")  # whose words do not matter


class ReferenceVoiceMaker:
    """A `tritone.families.contract.VoiceMaker`: the same steps, and so the same tokens, as for a
    request.

    The front end is needed for transcripts alone, and takes far longer to load than the encoders
    of a small checkpoint: it is loaded with the first transcript.
    """

    def __init__(
        self,
        model_dir: Path,
        config: "FrontendConfig",
        kind: type[Voice],
        frontend: Callable[[ReferenceReader], "PromptFrontend"],
    ) -> None:
        """kind: of the family's voices. frontend: makes one around these encoders.

        Raises ModelDirectoryError where the model directory lacks an encoder.
        """
        if missing := missing_models(model_dir):
            raise ModelDirectoryError(
                f"{model_dir} lacks {' and '.join(missing)}, which turn recordings into voices; "
                "convert the release again, with these files in it"
            )
        self._reader = load_reader(model_dir, config.llm.speech_codes, kind)
        longest = config.prompt.longest_seconds
        cutting = Cutting(DEFAULT_LIMITS.min_reference_seconds, longest)
        self._without_words = Cloner(self._reader, cutting)
        self._load_frontend, self._loading = frontend, threading.Lock()
        self._loaded: PromptFrontend | None = None

    def spoken(self, transcript: str) -> str:
        return self._frontend().transcript_of(replace(_REQUEST, reference_text=transcript))

    def voice(self, wav: Float32, rate: int, transcript: str) -> tuple[Voice, tuple[str, ...]]:
        request = replace(_REQUEST, reference_wav=wav, reference_rate=rate)
        if is_given(transcript):
            voice, _ = self._frontend().voice_of(replace(request, reference_text=transcript))
        else:
            check(request, DEFAULT_LIMITS)
            voice = self._without_words.voice(wav, rate)
        return voice, voice.notes

    def likeness(self, wav: Float32, rate: int) -> float | None:
        speech = speech_in(wav, rate, DEFAULT_LIMITS.min_reference_seconds)
        heard = resample(speech.wav, rate, SPEECH_RATE)
        return likeness(heard, SPEECH_RATE, self._reader.encoder)

    def _frontend(self) -> "PromptFrontend":
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load_frontend(self._reader)
            return self._loaded

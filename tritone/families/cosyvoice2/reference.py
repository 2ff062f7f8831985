"""A reference recording to the voice that it holds."""

from pathlib import Path

from tritone.arrays import Float32
from tritone.families.cosyvoice2.encoder_files import ENCODERS
from tritone.families.cosyvoice2.voice import (
    EMBEDDING_SIZE,
    MEL_FRAMES_PER_TOKEN,
    PROMPT_RATE,
    Voice,
    prompt_mel,
)
from tritone.frontend.audio.encoders import SpeakerEncoder, SpeechTokenizer
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.audio.resample import resample
from tritone.loading.steps import step


class ReferenceReader:
    """Clones voices with the two ONNX models of a checkpoint."""

    def __init__(
        self,
        speech_tokenizer: Path,
        speaker_encoder: Path,
        speech_codes: int,
        kind: type[Voice] = Voice,
    ) -> None:
        """kind: of the family's voices.

        Raises ModelDirectoryError when a model cannot be loaded.
        """
        self._kind = kind
        with step("speech tokenizer", speech_tokenizer):
            self.tokenizer = SpeechTokenizer(speech_tokenizer, speech_codes)
        with step("speaker encoder", speaker_encoder):
            self.encoder = SpeakerEncoder(speaker_encoder, EMBEDDING_SIZE)

    def read(self, wav: Float32, rate: int, transcript: str = "") -> Voice:
        """The voice of (N,) mono samples at `rate` Hz.

        transcript: what is said in it, normalised; empty if unknown. Each feature is resampled from
        the recording's own rate, so a rate above 16 kHz keeps its high band in the mel.
        """
        speech = resample(wav, rate, SPEECH_RATE)
        tokens = self.tokenizer(speech)
        mel = prompt_mel(resample(wav, rate, PROMPT_RATE), self._kind.mel_top_hz)
        # Of the same duration, or the flow's output would shift by the difference.
        count = min(len(mel) // MEL_FRAMES_PER_TOKEN, len(tokens))
        mel = mel[: MEL_FRAMES_PER_TOKEN * count]
        return self._kind(tokens[:count], mel, self.encoder(speech), transcript)


def load_reader(model_dir: Path, speech_codes: int, kind: type[Voice] = Voice) -> ReferenceReader:
    speech_tokenizer, speaker_encoder = (model_dir / name for name in ENCODERS)
    return ReferenceReader(speech_tokenizer, speaker_encoder, speech_codes, kind)

"""A reference recording to the voice that it holds."""

from pathlib import Path

from tritone.audio.features import PROMPT_RATE, SPEECH_RATE, prompt_mel
from tritone.audio.resample import resample
from tritone.audio.speech import SpeakerEncoder, SpeechTokenizer
from tritone.config import ModelConfig
from tritone.errors import InvalidRequest
from tritone.types import Float32, Int32, Voice

SPEECH_TOKENIZER_NAME = "speech_tokenizer.onnx"
SPEAKER_ENCODER_NAME = "speaker_encoder.onnx"


def align(tokens: Int32, mel: Float32, ratio: int) -> tuple[Int32, Float32]:
    """Cut tokens and mel to the same duration, `ratio` mel frames a token.

    tokens: (P,), mel: (M, 80). Without this the flow's output would shift by the difference.
    """
    count = min(len(mel) // ratio, len(tokens))
    return tokens[:count], mel[: ratio * count]


class ReferenceReader:
    """Clones voices, if the model directory has both ONNX models that this takes."""

    def __init__(self, model_dir: Path, config: ModelConfig) -> None:
        names = (SPEECH_TOKENIZER_NAME, SPEAKER_ENCODER_NAME)
        self._missing = [name for name in names if not (model_dir / name).is_file()]
        self._ratio = config.flow.token_mel_ratio
        if not self._missing:
            self._tokenizer = SpeechTokenizer(
                model_dir / SPEECH_TOKENIZER_NAME, config.llm.speech_codes
            )
            self._encoder = SpeakerEncoder(
                model_dir / SPEAKER_ENCODER_NAME, config.flow.spk_embed_dim
            )

    def require(self) -> None:
        """Raise InvalidRequest when this checkpoint cannot clone."""
        if self._missing:
            raise InvalidRequest(
                "reference_wav",
                "this checkpoint cannot clone voices: its model directory lacks "
                f"{' and '.join(self._missing)}; send no reference_wav to use a registered voice",
            )

    def read(self, wav: Float32, rate: int, transcript: str = "") -> Voice:
        """The voice of (N,) mono samples at `rate` Hz.

        transcript: what is said in it, normalised; empty if unknown. Each feature is resampled from
        the recording's own rate, so a rate above 16 kHz keeps its high band in the mel.
        """
        self.require()
        speech = resample(wav, rate, SPEECH_RATE)
        tokens, mel = align(
            self._tokenizer(speech), prompt_mel(resample(wav, rate, PROMPT_RATE)), self._ratio
        )
        return Voice(tokens, mel, self._encoder(speech), transcript)

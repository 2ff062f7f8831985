"""A reference recording to the voice that it holds."""

from pathlib import Path

from tritone.arrays import Float32, Int32
from tritone.families.cosyvoice2.prompt_mel import PROMPT_RATE, prompt_mel
from tritone.families.cosyvoice2.voice import EMBEDDING_SIZE, MEL_FRAMES_PER_TOKEN, Voice
from tritone.frontend.audio.encoders import SpeakerEncoder, SpeechTokenizer
from tritone.frontend.audio.features import SPEECH_RATE
from tritone.frontend.audio.resample import resample
from tritone.loading.steps import step

SPEECH_TOKENIZER_NAME = "speech_tokenizer.onnx"
SPEAKER_ENCODER_NAME = "speaker_encoder.onnx"


def align(tokens: Int32, mel: Float32) -> tuple[Int32, Float32]:
    """Cut tokens and mel to the same duration, two mel frames a token.

    tokens: (P,), mel: (M, 80). Without this the flow's output would shift by the difference.
    """
    count = min(len(mel) // MEL_FRAMES_PER_TOKEN, len(tokens))
    return tokens[:count], mel[: MEL_FRAMES_PER_TOKEN * count]


class ReferenceReader:
    """Clones voices with the two ONNX models of a checkpoint."""

    def __init__(self, speech_tokenizer: Path, speaker_encoder: Path, speech_codes: int) -> None:
        """Raises ModelDirectoryError when a model cannot be loaded."""
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
        mel = prompt_mel(resample(wav, rate, PROMPT_RATE))
        tokens, mel = align(self.tokenizer(speech), mel)
        return Voice(tokens, mel, self.encoder(speech), transcript)


def missing_models(model_dir: Path) -> list[str]:
    """Which of the files that cloning needs are not in the model directory."""
    names = (SPEECH_TOKENIZER_NAME, SPEAKER_ENCODER_NAME)
    return [name for name in names if not (model_dir / name).is_file()]


def load_reader(model_dir: Path, speech_codes: int) -> ReferenceReader:
    return ReferenceReader(
        model_dir / SPEECH_TOKENIZER_NAME, model_dir / SPEAKER_ENCODER_NAME, speech_codes
    )

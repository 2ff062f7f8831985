"""The two models of a checkpoint that turn a recording into a voice, as files."""

import hashlib
from pathlib import Path

from tritone.checkpoints.verify import sha256_of

SPEECH_TOKENIZER_NAME = "speech_tokenizer.onnx"
SPEAKER_ENCODER_NAME = "speaker_encoder.onnx"
ENCODERS = (SPEECH_TOKENIZER_NAME, SPEAKER_ENCODER_NAME)


def missing_models(model_dir: Path) -> list[str]:
    """Which of the files that cloning needs are not in the model directory."""
    return [name for name in ENCODERS if not (model_dir / name).is_file()]


def encoders_digest(model_dir: Path) -> str:
    """SHA-256 of both models, in hex; empty where one is missing. It reads them."""
    if missing_models(model_dir):
        return ""
    total = hashlib.sha256("".join(sha256_of(model_dir / name) for name in ENCODERS).encode())
    return total.hexdigest()

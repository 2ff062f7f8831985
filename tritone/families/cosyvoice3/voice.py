"""A speaker, as CosyVoice3 knows one: CosyVoice2's, with a mel that reaches higher."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tritone.arrays import Float32
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2 import voice as cosyvoice2
from tritone.families.cosyvoice2.voice import PROMPT_RATE, Decode
from tritone.families.cosyvoice3.config import TextConfig
from tritone.families.cosyvoice3.wording import transcript_alone


class Voice(cosyvoice2.Voice):
    mel_top_hz: ClassVar[float] = PROMPT_RATE / 2


def prompt_mel(wav: Float32) -> Float32:
    """As CosyVoice2's; bins from 0 to 12 kHz."""
    return cosyvoice2.prompt_mel(wav, Voice.mel_top_hz)


def import_spk2info(path: Path, decode: Decode, text: TextConfig) -> dict[str, Voice]:
    """As CosyVoice2's; transcripts come without the system's words, which the prompt adds.

    Their mels are taken for CosyVoice3's: nothing in the file tells.
    """
    voices = {}
    for name, found in cosyvoice2.import_spk2info(path, decode).items():
        try:
            transcript = transcript_alone(found.transcript, text)
        except InvalidRequest as error:
            problem = str(error).removeprefix(f"{error.field}: ")
            raise ModelDirectoryError(
                f"{path}: voice {name!r}: its transcript {problem}"
            ) from error
        voices[name] = Voice(**vars(replace(found, transcript=transcript)))
    return voices

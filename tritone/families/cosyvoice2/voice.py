"""A speaker, as CosyVoice2's front end, language model and flow know one. It needs no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from tritone.arrays import Float32, Int32
from tritone.checkpoints.torch_file import plain_tensors
from tritone.errors import ModelDirectoryError
from tritone.frontend.audio.features import natural_log_mel
from tritone.frontend.voices import VOICE_ID
from tritone.voice import Arrays

Decode = Callable[[Sequence[int]], str]

PROMPT_RATE = 24000
PROMPT_FFT, PROMPT_HOP = 1920, 480
MEL_BINS = 80
EMBEDDING_SIZE = 192
MEL_FRAMES_PER_TOKEN = 2
MEL_TOP = "mel_top_hz"  # of a voice in arrays, where it is not that of `Voice`


@dataclass(frozen=True)
class Voice:
    """prompt_tokens: (P,) speech codes at 25 Hz; P may be 0. prompt_mel: (2P, 80) log-mel at 50 Hz,
    aligned with prompt_tokens. embedding: (192,) speaker vector, not normalised. transcript: what
    the prompt says; empty when unknown (cross-lingual) or when P is 0. notes: on how a recording
    became this voice; they stay where it was made.

    mel_top_hz: where the highest bin ends. Flows of one top cannot go on from a mel of another.
    """

    mel_top_hz: ClassVar[float] = 8000.0
    prompt_tokens: Int32
    prompt_mel: Float32
    embedding: Float32
    transcript: str = ""
    notes: tuple[str, ...] = ()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        words = ("transcript", "notes")
        arrays = {name: value for name, value in vars(self).items() if name not in words}
        if self.mel_top_hz != Voice.mel_top_hz:
            arrays[MEL_TOP] = np.array([self.mel_top_hz], np.float32)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, transcript: str = "") -> Self:
        """Raises ValueError for a missing array, for shapes that do not go together, and for a
        voice of another family."""
        names = ("prompt_tokens", "prompt_mel", "embedding")
        if missing := [name for name in names if name not in arrays]:
            raise ValueError(f"{', '.join(missing)} missing")
        top = float(arrays[MEL_TOP].item()) if MEL_TOP in arrays else Voice.mel_top_hz
        if top != cls.mel_top_hz:
            raise ValueError(
                f"is of another model family: its mel reaches to {top:g} Hz, and this family's to "
                f"{cls.mel_top_hz:g} Hz; make the voice anew from its recording"
            )
        tokens = arrays["prompt_tokens"].astype(np.int32)
        mel, embedding = (arrays[name].astype(np.float32) for name in names[1:])
        _check(tokens, mel, embedding)
        return cls(tokens, mel, embedding, transcript)

    def fault(self, codes: int) -> str:
        """What is wrong with it for a codebook of so many codes; empty if nothing."""
        tokens = self.prompt_tokens
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < codes:
            return f"has speech codes outside 0 to {codes - 1}"
        return ""


def prompt_mel(wav: Float32, top_hz: float = Voice.mel_top_hz) -> Float32:
    """The flow's prompt: natural-log mel of (N,) samples at 24 kHz, N > 720, 50 frames a second.

    Returns (N // 480, 80), bins from 0 to top_hz.
    """
    return natural_log_mel(
        wav, PROMPT_RATE, n_fft=PROMPT_FFT, hop=PROMPT_HOP, bins=MEL_BINS, high_hz=top_hz
    )


def _check(tokens: Int32, mel: Float32, embedding: Float32) -> None:
    """Raise ValueError for shapes that do not go together, and for values that are not finite."""
    if tokens.ndim != 1:
        raise ValueError(f"prompt_tokens has shape {tokens.shape}, expected (P,)")
    expected = (MEL_FRAMES_PER_TOKEN * len(tokens), MEL_BINS)
    if mel.shape != expected:
        raise ValueError(f"prompt_mel has shape {mel.shape}, expected {expected}")
    if embedding.shape != (EMBEDDING_SIZE,):
        raise ValueError(f"embedding has shape {embedding.shape}, expected ({EMBEDDING_SIZE},)")
    if not (np.isfinite(mel).all() and np.isfinite(embedding).all()):
        raise ValueError("prompt_mel or embedding has NaN or infinite values")


def import_spk2info(path: Path, decode: Decode) -> dict[str, Voice]:
    """Read every voice of upstream's spk2info.pt, without running any code that it might hold.

    Three kinds are in use: zero-shot entries as CosyVoice writes them (transcript as token ids),
    what upstream's Triton runtime reads (transcript as text), and for SFT voices the speaker alone,
    {'embedding': (1, 192)}. decode: text ids to text, of the base tokenizer of the same checkpoint.

    Raises ModelDirectoryError naming the file, the voice and what is wrong with it. Needs torch.
    """
    voices = {}
    for name, entry in plain_tensors(path).items():
        if not VOICE_ID.fullmatch(str(name)):  # it will name a file
            raise ModelDirectoryError(
                f"{path}: voice {str(name)[:80]!r} has no name that can be an id, which is 1 to 64 "
                "of A-Z a-z 0-9 _ . -, not starting with . or -; rename it in that file"
            )
        try:
            voices[str(name)] = _voice(entry, decode)
        except ValueError as error:
            raise ModelDirectoryError(f"{path}: voice {name!r}: {error}") from error
    return voices


def _voice(entry: Any, decode: Decode) -> Voice:
    if not isinstance(entry, Mapping):
        raise ValueError(f"is {type(entry).__name__}, expected a dict")
    frames, transcript = ("1", "frames", str(MEL_BINS)), ""
    if "flow_embedding" in entry:
        tokens = _only(entry, "flow_prompt_speech_token")
        # Upstream gives the LLM and the flow the same tokens and embedding.
        if not np.array_equal(tokens, _only(entry, "llm_prompt_speech_token")):
            raise ValueError("llm_prompt_speech_token and flow_prompt_speech_token differ")
        text_ids = _only(entry, "prompt_text").tolist() if "prompt_text" in entry else []
        mel, transcript = _only(entry, "prompt_speech_feat", frames), decode(text_ids)
    elif "speech_token" in entry:
        tokens, mel = _only(entry, "speech_token"), _only(entry, "speech_feat", frames)
        transcript = str(entry.get("prompt_text", ""))
    else:
        tokens, mel = np.zeros(0), np.zeros((0, MEL_BINS))
    embedding = _only(entry, "flow_embedding" if "flow_embedding" in entry else "embedding")
    arrays = {"prompt_tokens": tokens, "prompt_mel": mel, "embedding": embedding}
    return Voice.from_arrays(arrays, transcript)


def _only(entry: Mapping[str, Any], key: str, expected: Sequence[str] = ("1", "n")) -> NDArray[Any]:
    """What stands in a tensor of one row, `expected` its shape."""
    value: Any = entry.get(key)
    if not hasattr(value, "numpy"):
        raise ValueError(f"{key} is missing or not a tensor (keys: {', '.join(map(str, entry))})")
    if value.is_floating_point():
        value = value.float()  # numpy has no bfloat16
    array: NDArray[Any] = value.numpy()
    if array.ndim != len(expected) or array.shape[0] != 1:
        raise ValueError(f"{key} has shape {array.shape}, expected ({', '.join(expected)})")
    row: NDArray[Any] = array[0]
    return row


def trim_prompt(voice: Voice, tokens: int, ratio: int) -> Voice:
    """A voice without the first `tokens` of its prompt and their mel frames."""
    kept, mel = voice.prompt_tokens[tokens:], voice.prompt_mel[tokens * ratio :]
    return replace(voice, prompt_tokens=kept, prompt_mel=mel)

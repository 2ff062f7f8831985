"""Reference recordings read by the teachers, and what happens to recordings on their way."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from training.speech import pronouncer, symbols, teacher
from tritone.arrays import Float32
from tritone.frontend.audio.resample import resample

RATE = 24000
SHORT = "Come here, please."
SENTENCE = "The small boat drifted slowly past the old mill."
TWO = (
    "We left the house before sunrise, and by the time we reached the hills the fog had lifted "
    "from the fields."
)
LONG = (
    f"{TWO} Nobody had seen the shepherd for a week, but his dog was waiting at the gate with a "
    "muddy blue ball."
)
LONGEST = (
    f"{LONG} My uncle counted the lambs twice. He found that three were missing, so he called the "
    "neighbors and asked them to search the valley. They walked along the river until noon, and "
    "then they shared bread and cheese under a tree."
)


@dataclass(frozen=True)
class Reference:
    """wav: (N,) mono samples at `rate` Hz. text: the transcript that is sent with it."""

    name: str
    wav: Float32
    text: str | None
    rate: int = RATE


@lru_cache
def read(voice: str, text: str) -> Float32:
    """A text as the teacher `voice` reads it, sentence after sentence."""
    sounds = {character: symbol for symbol, character in symbols().items()}
    parts = []
    for seed, sentence in enumerate(text.rstrip(".").split(". ")):
        phonemes = "".join(sounds.get(c, c) for c in pronouncer()(f"{sentence}.").text)
        parts.append(teacher(voice).speak(phonemes, seed).wav)
    return np.concatenate(parts)


def between(wav: Float32, before: float, after: float) -> Float32:
    """With seconds of silence at both ends."""
    return np.pad(wav, (round(before * RATE), round(after * RATE)))


def at_peak(wav: Float32, decibels: float) -> Float32:
    return wav / np.abs(wav).max() * np.float32(10 ** (decibels / 20))


def noisy(wav: Float32, decibels: float) -> Float32:
    """White noise so far below the speech."""
    noise = np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    return wav + noise * np.sqrt((wav**2).mean()) * np.float32(10 ** (-decibels / 20))


def references(voice: str) -> list[Reference]:
    """Fifteen ways in which a recording comes."""
    plain, two = read(voice, SENTENCE), read(voice, TWO)
    half = " ".join([*TWO.split()[:10], "and everybody danced until the music stopped."])
    return [
        Reference("one second", read(voice, SHORT), SHORT),
        Reference("three seconds", plain, SENTENCE),
        Reference("six seconds", two, TWO),
        Reference("twelve seconds", read(voice, LONG), LONG),
        Reference("twenty-five seconds", read(voice, LONGEST), LONGEST),
        Reference("twenty-five seconds, no transcript", read(voice, LONGEST), None),
        Reference("silence at both ends", between(plain, 3, 3), SENTENCE),
        Reference("silence at the end", between(plain, 0, 2), SENTENCE),
        Reference("-60 dBFS", at_peak(plain, -60), SENTENCE),
        Reference("0 dBFS", at_peak(plain, 0), SENTENCE),
        Reference("8 kHz", resample(two, RATE, 8000), TWO, 8000),
        Reference("an offset", 0.5 * plain + np.float32(0.3), SENTENCE),
        Reference("noise", noisy(two, 20), TWO),
        Reference("a transcript wrong by half", two, half),
        Reference("a transcript four times too long", plain, LONG),
    ]

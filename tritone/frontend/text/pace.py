"""Whether a text can be what is said in a recording, by their lengths alone."""

import re

# Letters a second, of the slowest and the fastest speech that people send.
SLOWEST, FASTEST = 2.5, 35.0
LETTERS_OF_A_SYLLABLE = 3  # of scripts that write a syllable, or a morpheme, with one character
_SYLLABIC = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")


def implausible(text: str, seconds: float) -> str:
    """What is wrong with a text of so many seconds of speech, or nothing."""
    syllables = len(_SYLLABIC.findall(text))
    letters = len(_LETTER.findall(text)) + (LETTERS_OF_A_SYLLABLE - 1) * syllables
    if SLOWEST * (seconds - 1) <= letters <= FASTEST * seconds:
        return ""
    kind = "too long" if letters > FASTEST * seconds else "too short"
    return f"is {kind} for {seconds:.1f} s of speech ({len(text)} characters)"


def plausible_letters(seconds: float) -> tuple[int, int]:
    """The fewest and most letters of so many seconds of speech, for messages."""
    return max(0, round(SLOWEST * (seconds - 1))), round(FASTEST * seconds)

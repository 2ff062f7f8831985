"""A reference recording, as people send it, to a voice that the checkpoint can go on from.

Silence, offset and level are put right; a transcript that cannot be that of the recording is left
out, because a language model that goes on from it would say neither; what is longer than the
checkpoint can follow is cut at a pause. Whatever is done is in the voice's notes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from tritone.arrays import Float32, Int32
from tritone.families.cosyvoice2.reference import ReferenceReader
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.families.cosyvoice2.transcript import LISTENER_NAME, Alignment, Listener
from tritone.families.cosyvoice2.voice import MEL_FRAMES_PER_TOKEN, Voice
from tritone.frontend.audio.recording import speech_in
from tritone.frontend.text.pace import implausible
from tritone.frontend.text.pronounce import PUNCTUATION, Pronouncer
from tritone.loading.steps import step

# Of a transcript's phonemes, and of a recording's sound, that must be found in the other: of clean
# speech it is 0.8 and more, of speech that is half something else 0.75 and less.
FOUND = 0.75
PAUSE_FRAMES = 4  # between words, at 50 a second, where a recording is best cut
WITHOUT = "the voice is taken from the recording alone"


@dataclass(frozen=True)
class Cutting:
    """shortest, longest: seconds of speech that a voice is made of."""

    shortest: float
    longest: float


@dataclass(frozen=True)
class Heard:
    """spoken: a text in phoneme characters."""

    listener: Listener
    spoken: Callable[[str], str]

    def align(self, codes: Int32, transcript: str) -> Alignment | None:
        return self.listener.align(codes, self.spoken(transcript))

    def first_words(self, text: str, count: int) -> str:
        """The text up to the spoken word `count`; empty where its words are spoken as others."""
        begin = " ".join(text.split()[:count])
        spoken = self.spoken(text).split()[:count]
        same = bool(count) and _letters(self.spoken(begin)) == _letters(" ".join(spoken))
        return begin if same else ""


def _letters(spoken: str) -> str:
    return "".join(c for c in spoken if c not in PUNCTUATION)


@dataclass(frozen=True)
class Cloner:
    """heard: of checkpoints with phonemes and a listener."""

    reader: ReferenceReader
    cutting: Cutting
    heard: Heard | None = None

    def voice(self, wav: Float32, rate: int, transcript: str = "") -> Voice:
        """The voice of (N,) mono samples at `rate` Hz; transcript: what is said in it, normalised,
        empty if unknown.

        Raises InvalidRequest where there is too little speech in it.
        """
        recording = speech_in(wav, rate, self.cutting.shortest)
        voice = self.reader.read(recording.wav, rate, transcript)
        return self._of_usable_length(*self._judged(replace(voice, notes=recording.notes)))

    def _judged(self, voice: Voice) -> tuple[Voice, Alignment | None]:
        """Without the transcript, if it cannot be that of the recording."""
        transcript, seconds = voice.transcript, len(voice.prompt_tokens) / CODES_PER_SECOND
        if not transcript:
            return voice, None
        if problem := implausible(transcript, seconds):
            return _without(voice, f"reference_text {problem}"), None
        if self.heard is None:
            return voice, None
        alignment = self.heard.align(voice.prompt_tokens, transcript)
        if alignment is None or min(alignment.heard, alignment.written) < FOUND:
            share = alignment.heard if alignment else 0.0
            found = (
                f"reference_text does not fit the recording (of its sounds {share:.0%} were heard)"
            )
            return _without(voice, found), None
        return voice, alignment

    def _of_usable_length(self, voice: Voice, alignment: Alignment | None) -> Voice:
        most = int(self.cutting.longest * CODES_PER_SECOND)
        if len(voice.prompt_tokens) <= most:
            return voice
        text = voice.transcript
        if alignment is not None and self.heard is not None:
            words, token = _last_words(alignment, most)
            if begin := self.heard.first_words(text, words):
                return _cut(replace(voice, transcript=begin), token, "with their transcript")
        if text:
            voice = _without(voice, "reference_wav is longer than this checkpoint can follow")
        return _cut(voice, _quietest(voice, most), "")


def _without(voice: Voice, why: str) -> Voice:
    return replace(voice, transcript="", notes=(*voice.notes, f"{why}; {WITHOUT}"))


def _cut(voice: Voice, token: int, how: str) -> Voice:
    seconds = token / CODES_PER_SECOND
    note = f"reference_wav: the first {seconds:.1f} s are used {how}".rstrip()
    return replace(
        voice,
        prompt_tokens=voice.prompt_tokens[:token],
        prompt_mel=voice.prompt_mel[: token * MEL_FRAMES_PER_TOKEN],
        notes=(*voice.notes, note),
    )


def _last_words(alignment: Alignment, most: int) -> tuple[int, int]:
    """The number of words before the last pause within `most` tokens, and the token there.

    The last third of what is allowed is searched for a pause; else the longest one is taken.
    """
    limit, best = most * MEL_FRAMES_PER_TOKEN, (0, 0, 0)
    for count, (word, following) in enumerate(pairwise(alignment.words), 1):
        gap = following.begin - word.end
        if word.end + 1 > limit:
            break
        late = word.end > 2 * limit // 3 and gap >= PAUSE_FRAMES
        best = max(best, (PAUSE_FRAMES + count if late else gap, count, word.end + gap // 2))
    _, words, frame = best
    return words, min(frame // MEL_FRAMES_PER_TOKEN, most)


def _quietest(voice: Voice, most: int) -> int:
    """The token within the last third of `most` that is quietest."""
    loudness = voice.prompt_mel.reshape(len(voice.prompt_tokens), -1).mean(axis=1)
    first = 2 * most // 3
    return first + int(np.argmin(loudness[first:most])) + 1


def load_cloner(
    model_dir: Path, reader: ReferenceReader, cutting: Cutting, pronounce: Pronouncer | None
) -> Cloner:
    """Raises ModelDirectoryError when the listener cannot be loaded."""
    path, heard = model_dir / LISTENER_NAME, None
    if pronounce and path.is_file():
        with step("listener", path):
            heard = Heard(Listener(path, pronounce.alphabet), lambda text: pronounce(text).text)
    return Cloner(reader, cutting, heard)

"""One spoken sentence through every judge."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.dnsmos import Dnsmos, Opinion
from evaluation.lengths import ends_loud, is_cut, is_empty, pace, trailing_silence
from evaluation.loudness import loudness
from evaluation.recognizer import Recognizer
from evaluation.seams import SeamRanks, compare_with_elsewhere
from evaluation.sentences import Sentence
from evaluation.speakers import VoiceEncoder, VoiceReferences
from evaluation.subjects import Speech
from evaluation.words import SentenceErrors
from tritone.arrays import Float32


@dataclass(frozen=True)
class Row:
    """The findings of one sentence.

    pace: seconds a character, see `evaluation.lengths.pace`; tail_s: silence at the end; lufs: how
    loud it is.
    opinion, similarities: None without audio, and similarities also without references.
    rtf: seconds of work for a second of audio; None where nothing was timed or heard.
    """

    subject: str
    voice: str | None
    key: str
    text: str
    errors: SentenceErrors
    seconds: float
    empty: bool
    cut: bool
    loud_end: bool
    pace: float
    tail_s: float
    lufs: float
    opinion: Opinion | None
    similarities: dict[str, float] | None
    seams: SeamRanks
    first_packet_s: float | None
    total_s: float | None
    rtf: float | None
    notes: tuple[str, ...]
    failure: str


class Judges:
    """All models that an evaluation needs, loaded once."""

    def __init__(self, references: Mapping[str, tuple[Float32, int]]) -> None:
        """references: voice name to samples and rate; without any no voices are compared.

        Raises EnvironmentProblem where a package is missing.
        """
        self._recognizer = Recognizer()
        self._dnsmos = Dnsmos()
        self._voices = VoiceReferences(VoiceEncoder(), references) if references else None

    def __call__(self, subject: str, sentence: Sentence, voice: str | None, speech: Speech) -> Row:
        wav, rate = speech.samples, speech.rate
        empty = is_empty(wav, rate)
        errors = self._recognizer.errors(sentence.text, wav, rate)
        seconds = len(wav) / rate
        return Row(
            subject=subject,
            voice=voice,
            key=sentence.key,
            text=sentence.text,
            errors=errors,
            seconds=seconds,
            empty=empty,
            cut=is_cut(wav, rate, errors.last_word_heard),
            loud_end=ends_loud(wav, rate),
            pace=pace(wav, rate, errors.characters),
            tail_s=trailing_silence(wav, rate),
            lufs=loudness(wav, rate),
            opinion=None if empty else self._dnsmos(wav, rate),
            similarities=self._similarities(wav, rate) if not empty else None,
            seams=compare_with_elsewhere(wav, speech.seams, rate),
            first_packet_s=speech.first_packet_s,
            total_s=speech.total_s,
            rtf=speech.total_s / seconds if speech.total_s and seconds else None,
            notes=speech.notes,
            failure=speech.failure,
        )

    def _similarities(self, wav: Float32, rate: int) -> dict[str, float] | None:
        return self._voices.similarities(wav, rate) if self._voices else None

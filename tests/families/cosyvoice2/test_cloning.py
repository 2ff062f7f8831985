"""From a recording as it comes to a voice: transcripts that do not belong, recordings too long."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from tritone.arrays import Float32, Int32
from tritone.errors import InvalidRequest
from tritone.families.cosyvoice2.cloning import WITHOUT, Cloner, Cutting, Heard
from tritone.families.cosyvoice2.transcript import Alignment, Word
from tritone.families.cosyvoice2.voice import Voice

RATE = 16000
TEXT = "one two three four five six seven eight"


@dataclass
class Reader:
    """Gives a token for every 40 ms, and keeps what it was asked to read."""

    seen: list[Float32] = field(default_factory=list)

    def read(self, wav: Float32, rate: int, transcript: str = "") -> Voice:
        self.seen.append(wav)
        count = len(wav) * 25 // rate
        mel = np.full((2 * count, 80), -3, np.float32)
        mel[2 * 40 : 2 * 41] = -9  # the quietest token is number 40
        tokens = np.arange(count, dtype=np.int32)
        return Voice(tokens, mel, np.ones(192, np.float32), transcript)


@dataclass
class Listener:
    alignment: Alignment | None

    def align(self, codes: Int32, spoken: str) -> Alignment | None:
        return self.alignment


def cloner(alignment: Alignment | None, longest: float = 30.0) -> Cloner:
    heard = Heard(Listener(alignment), lambda text: text)  # type: ignore[arg-type]
    return Cloner(Reader(), Cutting(0.3, longest), heard)  # type: ignore[arg-type]


def unheard(longest: float = 30.0) -> Cloner:
    return Cloner(Reader(), Cutting(0.3, longest))  # type: ignore[arg-type]


def speech(seconds: float) -> Float32:
    time = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * noise * (0.3 + np.sin(2 * np.pi * 4 * time) ** 2)).astype(np.float32)


def words(*begins: int) -> tuple[Word, ...]:
    return tuple(Word(begin, begin + 20) for begin in begins)


def test_what_fits_is_used_as_it_is() -> None:
    voice = cloner(Alignment(0.9, 0.9, words(0, 30))).voice(speech(3), RATE, TEXT)
    assert voice.transcript == TEXT and voice.notes == ()
    assert abs(len(voice.prompt_tokens) - 75) <= 2


@pytest.mark.parametrize(("heard", "written"), [(0.5, 0.9), (0.9, 0.5), (0.0, 0.0)])
def test_a_transcript_of_something_else_is_left_out_by_name(heard: float, written: float) -> None:
    voice = cloner(Alignment(heard, written, ())).voice(speech(3), RATE, TEXT)
    assert voice.transcript == "" and len(voice.prompt_tokens) > 70
    share = f"of its sounds {heard:.0%} were heard"
    assert voice.notes == (f"reference_text does not fit the recording ({share}); {WITHOUT}",)


def test_a_transcript_that_cannot_be_laid_over_is_left_out() -> None:
    voice = cloner(None).voice(speech(3), RATE, TEXT)
    assert voice.transcript == "" and "does not fit the recording" in voice.notes[0]


def test_lengths_are_compared_without_a_listener_too() -> None:
    voice = unheard().voice(speech(1), RATE, 5 * TEXT)
    assert voice.transcript == ""
    assert voice.notes[0].startswith("reference_text is too long for 1.0 s of speech")


def test_a_checkpoint_without_a_listener_believes_a_plausible_transcript() -> None:
    assert unheard().voice(speech(3), RATE, TEXT).transcript == TEXT


def test_a_long_recording_is_cut_at_a_pause_with_its_words() -> None:
    """Words of 0.4 s: at 100 frames there is a pause, after it the words follow each other."""
    alignment = Alignment(0.9, 0.9, words(0, 25, 50, 75, 110, 131, 152, 173))
    voice = cloner(alignment, longest=2.5).voice(speech(4), RATE, TEXT)
    assert voice.transcript == "one two three four"
    assert 95 <= 2 * len(voice.prompt_tokens) <= 110
    assert len(voice.prompt_mel) == 2 * len(voice.prompt_tokens)
    assert voice.notes[-1] == "reference_wav: the first 2.0 s are used with their transcript"


def test_words_that_are_spoken_as_others_are_not_cut_apart() -> None:
    """Where the first words alone would be read otherwise, the transcript is left out."""
    heard = Heard(
        Listener(Alignment(0.9, 0.9, words(0, 25, 50, 110))),  # type: ignore[arg-type]
        lambda text: "zero one two three" if len(text) > 20 else text,
    )
    clone = Cloner(Reader(), Cutting(0.3, 2.5), heard)  # type: ignore[arg-type]
    voice = clone.voice(speech(4), RATE, TEXT)
    assert voice.transcript == ""
    assert any("longer than this checkpoint can follow" in note for note in voice.notes)


def test_without_a_transcript_a_long_recording_is_cut_where_it_is_quietest() -> None:
    voice = unheard(longest=2.0).voice(speech(4), RATE)
    assert len(voice.prompt_tokens) == 41
    assert voice.notes == ("reference_wav: the first 1.6 s are used",)


def test_silence_goes_before_the_recording_is_read() -> None:
    clone = unheard()
    wav = np.concatenate([np.zeros(RATE, np.float32), speech(2), np.zeros(RATE, np.float32)])
    voice = clone.voice(wav, RATE)
    (seen,) = clone.reader.seen  # type: ignore[attr-defined]
    assert len(seen) / RATE < 2.3
    assert any("of silence at its ends cut" in note for note in voice.notes)


def test_too_little_speech_is_rejected() -> None:
    wav = np.concatenate([np.zeros(RATE, np.float32), speech(0.06), np.zeros(RATE, np.float32)])
    with pytest.raises(InvalidRequest, match="s of speech are needed"):
        unheard().voice(wav, RATE)

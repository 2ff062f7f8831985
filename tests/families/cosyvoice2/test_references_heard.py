"""References of ordinary quality: the words that follow them, or a note that names the cause."""

from collections.abc import Iterator

import pytest
from paths import EMBEDDED
from recordings import Reference, references

import tritone
from evaluation.recognizer import Recognizer
from evaluation.words import pool
from tritone import TTS, SamplingParams

pytestmark = pytest.mark.slow

TARGETS = (
    "The committee will meet again next Tuesday to vote on the new budget.",
    "Please bring two tickets, and wait for me near the fountain.",
)
WORST = 0.1  # word error rate; of clean references 0.03
# What is done to the recording must be said; of these it is.
NOTED = {
    "twelve seconds": "the first ",
    "twenty-five seconds": "the first ",
    "twenty-five seconds, no transcript": "the first ",
    "silence at both ends": "s of silence at its ends cut",
    "silence at the end": "s of silence at its ends cut",
    "an offset": "a constant offset of",
    "a transcript wrong by half": "reference_text does not fit the recording",
    "a transcript four times too long": "reference_text is too long for",
}


@pytest.fixture(scope="module")
def tts() -> Iterator[TTS]:
    with tritone.load(EMBEDDED) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


@pytest.mark.parametrize(
    "reference",
    [r for voice in ("hibari", "joe") for r in references(voice)],
    ids=lambda reference: reference.name,
)
def test_words_are_heard_whatever_the_reference(
    tts: TTS, recognizer: Recognizer, reference: Reference
) -> None:
    errors, notes = [], set[str]()
    for seed, text in enumerate(TARGETS):
        (chunk,) = list(
            tts.stream(
                text,
                reference_wav=reference.wav,
                reference_rate=reference.rate,
                reference_text=reference.text,
                streaming=False,
                sampling=SamplingParams(seed=seed),
            )
        )
        notes |= set(chunk.timing["notes"])
        errors.append(recognizer.errors(text, chunk.samples, tts.sample_rate))
    assert pool(errors).wer <= WORST, [e.heard for e in errors]
    if wanted := NOTED.get(reference.name):
        assert any(wanted in note for note in notes), notes

"""What people type first, through the real server: every word once, whatever the reference."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np
import pytest
from recordings import SENTENCE, TWO, at_peak, between, read

from evaluation.lengths import ends_loud
from evaluation.recognizer import Recognizer
from evaluation.sentences import sentences
from evaluation.words import SentenceErrors, pool
from tritone.arrays import Float32
from tritone_client import SpeechClient, Utterance

pytestmark = [pytest.mark.server, pytest.mark.slow]

RATE = 24000
VOICES = ("heart", "joe")
PHRASES = (
    "Sure.", "Look at this.", "Of course.", "Good evening.", "Not now.", "Where?", "Stop it.",
    "See you later.", "Two more.", "Yes.", "Thank you.", "What time is it?", "I like this.",
    "Let me see.", "Read this.", "Okay.", "No way.", "Berlin.", "Good morning.", "Come in.",
)  # fmt: skip
CLAUSES = [s.text for s in sentences("clauses") if "," in s.text][:10]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer()


def heard(
    client: SpeechClient, recognizer: Recognizer, texts: Sequence[str]
) -> list[SentenceErrors]:
    """Said by the voices in turn; one text is recognised while the next one is spoken."""
    with ThreadPoolExecutor(1) as pool:
        found = []
        for text, voice in zip(texts, cycle(VOICES), strict=False):
            wave = np.concatenate(list(client.stream(Utterance(text, voice=voice, seed=1))))
            assert not ends_loud(wave, RATE), f"{text!r} ends at full level"
            found.append(pool.submit(recognizer.errors, text, wave, RATE))
    return [each.result() for each in found]


def test_short_phrases_are_said_once(client: SpeechClient, recognizer: Recognizer) -> None:
    """A recogniser mishears some words that stand alone; what is said twice has twice as many."""
    assert len(PHRASES) == 20
    found = heard(client, recognizer, PHRASES)
    twice = [e.heard for e in found if len(e.heard.split()) >= 2 * e.words + (e.words == 1)]
    assert len(twice) <= 1, twice
    assert sum(not e.heard for e in found) <= 1
    assert pool(found).wer <= 0.25, [(e.reference, e.heard) for e in found if e.word_errors]


def test_every_clause_is_said(client: SpeechClient, recognizer: Recognizer) -> None:
    assert len(CLAUSES) == 10
    found = heard(client, recognizer, CLAUSES)
    missed = [(e.reference, e.heard) for e in found if e.word_errors]
    assert pool(found).wer <= 0.06, missed
    words = sum(len(e.heard.split()) for e in found) / sum(e.words for e in found)
    assert words >= 0.97, missed


def references(voice: str) -> list[tuple[Float32, str | None]]:
    sentence = read(voice, SENTENCE)
    return [
        (sentence, SENTENCE),
        (between(at_peak(sentence, -50), 1, 3), SENTENCE),
        (read(voice, TWO), " ".join(TWO.split()[:8]) + " but nobody knew what to say about it."),
    ]


@pytest.mark.parametrize("teacher", ["hibari", "joe"])
def test_references_are_followed(
    client: SpeechClient, recognizer: Recognizer, teacher: str
) -> None:
    text = "Please bring two tickets, and wait for me near the fountain."
    for wave, transcript in references(teacher):
        utterance = Utterance(
            text, reference_wav=wave, reference_rate=RATE, reference_text=transcript, seed=1
        )
        spoken = np.concatenate(list(client.stream(utterance)))
        found = recognizer.errors(text, spoken, RATE)
        assert found.word_errors <= 1, (transcript, found.heard)

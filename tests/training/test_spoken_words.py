"""What the server says is what was written, told by judges that are tested here on clean speech."""

from collections.abc import Callable

import numpy as np
import pytest
from hibari.tts import Hibari
from paths import PROJECT

from evaluation import Recognizer, score, sentences
from evaluation.dnsmos import Dnsmos
from evaluation.speakers import VoiceEncoder, VoiceReferences
from training.config import read_voice
from training.speech import read_aloud
from training.teachers import RATE, TEACHERS
from tritone.arrays import Float32
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.slow

pytest.importorskip("faster_whisper", reason="the extra asr is not installed")

SPOKEN = sentences("harvard")[10:15]  # the first half of list 2
WORST_WER = 0.25
SAID = "The girl at the booth sold fifty bonds."
VOICE = PROJECT / "training" / "voice.yaml"


@pytest.mark.server
def test_streamed_sentences_are_understood(client: SpeechClient) -> None:
    spoken = [
        (sentence.text, client.speak(Utterance(sentence.text, seed=0)), RATE) for sentence in SPOKEN
    ]
    found = score(spoken)
    assert found.wer <= WORST_WER, [(s.reference, s.heard) for s in found.sentences]


@pytest.fixture(scope="module")
def recordings() -> dict[str, tuple[Float32, int]]:
    """A sentence by each of those whom the embedded voices learned from."""
    voice, read = read_voice(VOICE), {}
    for name, speaker in voice.speakers.items():
        utterance = read_aloud(SAID, TEACHERS[speaker.teacher](), voice.speech, seed=0)
        assert utterance is not None
        read[name] = (utterance.wav, RATE)
    return read


@pytest.mark.server
@pytest.mark.parametrize("chosen", ["by name", "by a recording"])
def test_each_voice_is_nearest_to_itself(
    client: SpeechClient, recordings: dict[str, tuple[Float32, int]], chosen: str
) -> None:
    references = VoiceReferences(VoiceEncoder(), recordings)
    assert list(recordings) == ["heart", "joe"]
    for name, (wav, rate) in recordings.items():
        voice = Utterance(SPOKEN[0].text, seed=0, voice=name)
        if chosen == "by a recording":
            voice = Utterance(SPOKEN[0].text, wav, rate, reference_text=SAID, seed=0)
        near = references.similarities(client.speak(voice), RATE)
        assert max(near, key=near.__getitem__) == name, near


@pytest.fixture(scope="module")
def teacher() -> Callable[[str], Float32]:
    """Clean speech of a voice that the package for pronunciation brings along."""
    voice = Hibari()
    return lambda text: np.asarray(voice(text, seed=0), np.float32)


def test_clean_speech_is_understood_and_other_words_are_not(
    teacher: Callable[[str], Float32],
) -> None:
    recognizer = Recognizer()
    spoken, other = (sentence.text for sentence in SPOKEN[:2])
    wav = teacher(spoken)
    assert score([(spoken, wav, RATE)], recognizer).wer == 0
    assert score([(other, wav, RATE)], recognizer).wer > 0.7
    cut = recognizer.errors(spoken, wav[: len(wav) // 2], RATE)
    assert not cut.last_word_heard and cut.word_errors >= 2
    assert recognizer.transcribe(np.zeros(RATE, np.float32), RATE) == ""


def test_noise_lowers_the_opinion_of_the_sound(teacher: Callable[[str], Float32]) -> None:
    dnsmos = Dnsmos()
    wav = teacher(SPOKEN[0].text)
    noise = np.random.default_rng(0).normal(0, 0.03, len(wav)).astype(np.float32)
    clean, noisy = (dnsmos(w, RATE) for w in (wav, wav + noise))
    assert clean.overall > 2.5 and clean.background > 3.5
    assert noisy.overall < clean.overall - 0.5
    assert noisy.background < clean.background - 1


def test_a_voice_is_nearer_to_itself_than_to_a_deeper_one(
    teacher: Callable[[str], Float32],
) -> None:
    first, second, third = (teacher(sentence.text) for sentence in SPOKEN[:3])
    deeper = RATE * 7 // 10  # played slower: a larger speaker
    references = {"own": (first, RATE), "deep": (second, deeper)}
    voices = VoiceReferences(VoiceEncoder(), references)
    own, deep = voices.similarities(third, RATE), voices.similarities(third, deeper)
    assert own["own"] > own["deep"] + 0.1
    assert deep["deep"] > deep["own"] + 0.1

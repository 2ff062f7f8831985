"""The judges of speech, each on input whose answer is known, and each failing when it should."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evaluation import LISTS, sentences
from evaluation.judges import Row
from evaluation.lengths import ends_loud, is_cut, is_empty, pace, runaways, trailing_silence
from evaluation.normalizer import WordNormalizer
from evaluation.packages import folder, module
from evaluation.report import markdown, report, summarize
from evaluation.seams import SeamRanks
from evaluation.sentences import Sentence
from evaluation.speakers import without_pauses
from evaluation.subjects import Speech, WaveSubject, save
from evaluation.words import SentenceErrors, compare, pool
from tritone.arrays import Float32
from tritone.errors import EnvironmentProblem

RATE = 24000


@pytest.fixture(scope="module")
def normalize() -> WordNormalizer:
    return WordNormalizer()


def tone(seconds: float, level: float = 0.3) -> Float32:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 200 * time)).astype(np.float32)


def silence(seconds: float) -> Float32:
    return np.zeros(round(seconds * RATE), np.float32)


def faded(wav: Float32, seconds: float = 0.1) -> Float32:
    size = round(seconds * RATE)
    wav = wav.copy()
    wav[-size:] *= np.linspace(1, 0, size, dtype=np.float32) ** 2
    return wav


def test_lists_are_complete_and_without_repeats() -> None:
    lists = {name: sentences(name) for name in LISTS}
    sizes = {"harvard": 40, "own": 40, "many": 120, "short": 90, "clauses": 24}
    assert {name: len(of) for name, of in lists.items()} == sizes
    everything = [sentence for of in lists.values() for sentence in of]
    assert len({sentence.key for sentence in everything}) == sum(sizes.values())
    for of in lists.values():
        assert len({sentence.text.lower() for sentence in of}) == len(of)
    assert all(len(sentence.text.split()) <= 5 for sentence in lists["short"])
    assert all(sentence.list_name in LISTS for sentence in everything)
    assert all(6 <= len(sentence.text.split()) <= 14 for sentence in lists["own"])
    assert lists["harvard"][0] == Sentence(
        "harvard-01", "The birch canoe slid on the smooth planks."
    )


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It's three o'clock.", "it’s 3 o'clock"),
        (
            "The train leaves at 7:30 from platform 4.",
            "the train leaves at seven thirty from platform four",
        ),
        ("About 80% of the seats", "about eighty percent of the seats"),
        ("the 3rd of March", "The third of March!"),
        ("There are 1,200 people", "there are twelve hundred people"),
        ("a well-known favourite colour", "A well known favorite color"),
        ("Dr. Lee and Mrs. Alvarez", "doctor Lee and missus Alvarez"),
        ("at 9 a.m. sharp", "at nine AM sharp"),
        ("No.", "no"),
        ("'Stop!' he said", "Stop, he said"),
        ("Zoë", "zoe"),
    ],
)
def test_one_wording_has_one_form(normalize: WordNormalizer, left: str, right: str) -> None:
    assert normalize(left) == normalize(right) != ""


@pytest.mark.parametrize(
    ("left", "right"),
    [("I can't go", "I can go"), ("we'll", "well"), ("three", "four"), ("a man", "the man")],
)
def test_other_words_stay_other_words(normalize: WordNormalizer, left: str, right: str) -> None:
    assert normalize(left) != normalize(right)


def test_every_sentence_has_words_without_digits(normalize: WordNormalizer) -> None:
    for name in LISTS:
        for sentence in sentences(name):
            words = normalize(sentence.text)
            assert words and not any(char.isdigit() for char in words), (sentence, words)


def test_errors_of_a_sentence_are_those_counted_by_hand() -> None:
    pytest.importorskip("jiwer")
    # one substitution (big), one deletion (mat), one insertion (there): 3 of 6 words
    found = compare("the cat sat on the mat", "the big sat there on the")
    assert (found.words, found.word_errors) == (6, 3)
    assert not found.last_word_heard
    # "cat" to "cut": one of 7 characters
    found = compare("the cat", "the cut")
    assert (found.characters, found.character_errors) == (7, 1)
    assert compare("the cat", "a the cat").last_word_heard
    assert compare("the cat", "").word_errors == 2


def test_rates_are_pooled_over_words_and_not_over_sentences() -> None:
    right = SentenceErrors("", "", 8, 0, 30, 0, True)
    wrong = SentenceErrors("", "", 2, 2, 10, 5, False)
    score = pool([right, wrong])
    assert score.wer == 2 / 10
    assert score.cer == 5 / 40
    assert score.wer_interval == (0.0, 1.0)
    many = pool([right, wrong] * 50)
    assert many.wer == 0.2 and many.wer_interval[0] > 0.1 and many.wer_interval[1] < 0.35


def test_empty_is_no_samples_or_no_sound() -> None:
    assert is_empty(silence(0), RATE)
    assert is_empty(silence(1), RATE)
    assert is_empty(tone(1, level=0.001), RATE)
    assert not is_empty(np.concatenate([silence(1), tone(0.05)]), RATE)


def test_silence_at_the_end_is_measured() -> None:
    assert trailing_silence(tone(1), RATE) == 0
    assert trailing_silence(np.concatenate([tone(1), silence(0.5)]), RATE) == pytest.approx(0.5)
    assert trailing_silence(np.concatenate([silence(0.5), tone(1)]), RATE) == 0
    assert trailing_silence(silence(2), RATE) == 2


def test_runaways_are_slow_or_trail_off() -> None:
    paces = [pace(tone(2), RATE, 30), pace(tone(2.2), RATE, 30), pace(tone(4.5), RATE, 30)]
    assert runaways(paces, [0, 0, 0]) == [False, False, True]
    assert runaways(paces[:2], [1.4, 1.6]) == [False, True]
    # A word alone takes longer than its letters say.
    assert pace(tone(0.7), RATE, 3) == pytest.approx(pace(tone(2.15), RATE, 30), rel=0.01)
    assert runaways([], []) == []


def test_a_cut_ends_loud_and_lacks_the_last_word() -> None:
    assert ends_loud(tone(1), RATE)
    assert not ends_loud(faded(tone(1)), RATE)
    assert not ends_loud(np.concatenate([tone(1), silence(0.05)]), RATE)
    assert not ends_loud(silence(1), RATE)
    assert is_cut(tone(1), RATE, last_word_heard=False)
    assert not is_cut(tone(1), RATE, last_word_heard=True)
    assert not is_cut(faded(tone(1)), RATE, last_word_heard=False)


def test_pauses_are_left_out_before_voices_are_compared() -> None:
    rate = 16000
    word = tone(1.0)[: rate // 2]
    kept = without_pauses(np.concatenate([word, np.zeros(2 * rate, np.float32), word]))
    assert len(word) * 2 <= len(kept) <= len(word) * 2 + 0.25 * rate


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(EnvironmentProblem, match=r"pip install -e '\.\[asr\]'"):
        module("no_such_package")
    with pytest.raises(EnvironmentProblem, match="pip install --no-deps x"):
        folder("no_such_package", "pip install --no-deps x")


def test_wave_folders_are_read_back(tmp_path: Path) -> None:
    sentence = sentences("harvard")[0]
    save(tmp_path, sentence, "a", Speech(tone(0.5), RATE))
    read = WaveSubject("x", tmp_path).speak(sentence, "a")
    assert read.rate == RATE and np.abs(read.samples - tone(0.5)).max() < 1e-4
    with pytest.raises(EnvironmentProblem, match=r"harvard-01\.wav is missing"):
        WaveSubject("x", tmp_path).speak(sentence, None)
    soundfile.write(tmp_path / "harvard-01.wav", np.stack([tone(0.1), silence(0.1)], 1), RATE)
    assert WaveSubject("x", tmp_path).speak(sentence, None).samples.std() > 0.1


def row(key: str, **changes: object) -> Row:
    usual = Row(
        subject="model",
        voice="a",
        key=key,
        text="",
        errors=SentenceErrors("", "", 10, 1, 50, 2, True),
        seconds=3.0,
        empty=False,
        cut=False,
        loud_end=False,
        pace=0.05,
        tail_s=0.2,
        lufs=-23.0,
        opinion=None,
        similarities={"a": 0.8, "b": 0.5},
        seams=SeamRanks((0.25, 0.75), (0.5, 0.5)),
        first_packet_s=0.2,
        total_s=0.6,
        rtf=0.2,
        notes=(),
        failure="",
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_summary_counts_each_finding_where_it_belongs() -> None:
    rows = [row(f"own-{i:02}") for i in range(1, 5)]
    rows += [
        row("many-001", pace=0.2),
        row("many-002", empty=True, pace=0.0, tail_s=9.0, failure="tts: broke"),
        row("many-003", cut=True, similarities={"a": 0.5, "b": 0.6}),
        row("many-001", subject="other", similarities=None, first_packet_s=None, rtf=None),
    ]
    own, many, other = summarize(rows)
    assert (own.list_name, own.sentences, own.wer, own.cer) == ("own", 4, 0.1, 0.04)
    assert (own.empty, own.runaway, own.cut, own.failed) == (0, 0, 0, 0)
    assert (many.empty, many.runaway, many.cut, many.failed) == (1, 1, 1, 1)
    assert own.nearest == 1.0 and many.nearest == pytest.approx(2 / 3)
    assert own.similarity == pytest.approx(0.8)
    assert (own.click, own.seams) == (0.5, 8)
    assert own.first_packet_s is not None and own.first_packet_s.median == 0.2
    assert other.nearest is None and other.rtf is None and other.runaway == 0
    table = markdown([own, many, other]).splitlines()
    assert len(table) == 5 and len({line.count("|") for line in table}) == 1
    assert "0 / 0 / 0 / 0" in table[2] and "1 / 1 / 1 / 1" in table[3] and "—" in table[4]
    written = json.loads(json.dumps(report(rows)))
    assert [r["runaway"] for r in written["rows"]] == [False] * 4 + [True, False, False, False]

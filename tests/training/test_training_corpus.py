"""Sentences for the teachers to read: what comes in, what is left out."""

import random
from pathlib import Path

import pytest
from trained_work import tiny_voice

from evaluation.sentences import Sentence
from training import corpus
from training.corpus import READABLE, comparable, template_sentences, wordnet_sentences
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.normalize import TextNormalizer

LICENCE = "  1 This software and database is being provided to you\n"
NOUNS = (
    '00001740 03 n 01 entity 0 001 ~ 0001 n 0000 | a thing that is; "the thing is here now"  \n'
    '00002137 03 n 02 idea 0 000 | (formal) a thought of the mind; "it costs fifteen dollars"; '
    '"he had 3 ideas"  \n'
    "00003000 03 n 01 gist 0 000 | The Cat, sat on the mat!  \n"
)


@pytest.fixture()
def wordnet(tmp_path: Path) -> Path:
    data = tmp_path / "wordnet" / "usr" / "share" / "wordnet"
    data.mkdir(parents=True)
    for part in corpus.PARTS:
        text = LICENCE + (NOUNS if part == "noun" else "")
        (data / f"data.{part}").write_text(text, encoding="latin-1")
    return data


def test_glosses_are_cut_into_definitions_and_examples(wordnet: Path) -> None:
    found = [" ".join(sentence.split()) for sentence in wordnet_sentences(wordnet)]
    assert [sentence for sentence in found if sentence] == [
        "the thing is here now",
        "a thing that is",
        "it costs fifteen dollars",
        "he had 3 ideas",
        "a thought of the mind",
        "The Cat, sat on the mat!",
    ]


def test_templates_depend_on_the_seed_alone() -> None:
    first, same, other = (list(template_sentences(random.Random(s), 40)) for s in (5, 5, 6))
    assert len(first) == 40 and first == same != other


def test_templates_are_readable_once_normalised() -> None:
    normalize = TextNormalizer(TAGS)
    written = list(template_sentences(random.Random(1), 60))
    assert any(c.isdigit() for sentence in written for c in sentence)
    for sentence in written:
        assert READABLE.fullmatch(normalize(sentence)), sentence


def test_comparable_keeps_only_the_words() -> None:
    assert comparable("  It's  HERE, \n isn't it?") == "its here isnt it"
    assert comparable("its here -- isnt it") == comparable("It's here: isn't it?")
    assert comparable("its there") != comparable("its here")


def test_corpus_leaves_out_what_the_voice_is_judged_by(
    wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = (Sentence("own-01", "The thing is here, now."), Sentence("own-02", "It costs $15."))
    monkeypatch.setattr(corpus, "sentences", lambda _: judged)
    config = tiny_voice().corpus.model_copy(update={"templates": 0})
    voice = tiny_voice().model_copy(update={"corpus": config})
    corpus.write(tmp_path, voice)
    lines = (tmp_path / "corpus.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == [
        "The Cat, sat on the mat!",
        "a thing that is.",
        "a thought of the mind.",
    ]


def test_corpus_is_bounded_unique_and_written_once(
    wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "sentences", lambda _: ())
    config = tiny_voice().corpus.model_copy(update={"templates": 20, "longest_words": 8})
    voice = tiny_voice().model_copy(update={"corpus": config})
    corpus.write(tmp_path, voice)
    path = tmp_path / "corpus.txt"
    text = path.read_text(encoding="utf-8")
    keys = [comparable(line) for line in text.splitlines()]
    assert len(keys) > 10 and len(set(keys)) == len(keys)
    assert all(3 <= len(key.split()) <= 8 for key in keys)
    path.write_text("kept\n", encoding="utf-8")
    corpus.write(tmp_path, voice)
    assert path.read_text(encoding="utf-8") == "kept\n"
    path.unlink()
    corpus.write(tmp_path, voice)
    assert path.read_text(encoding="utf-8") == text

"""Sentences for the teachers to read: what comes in, what is left out."""

import random
from pathlib import Path

import pytest
from trained_work import tiny_voice

from evaluation.sentences import Sentence
from training import corpus
from training.corpus import (
    READABLE,
    comparable,
    template_sentences,
    wordnet_sentences,
    wordnet_words,
)
from training.phrases import many_clauses, short_phrases
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.normalize import TextNormalizer

LICENCE = "  1 This software and database is being provided to you\n"
NOUNS = (
    '00001740 03 n 01 entity 0 001 ~ 0001 n 0000 | a thing that is; "the thing is here now"  \n'
    '00002137 03 n 02 idea 0 000 | (formal) a thought of the mind; "it costs fifteen dollars"; '
    '"he had 3 ideas"  \n'
    "00003000 03 n 01 gist 0 000 | The Cat, sat on the mat!  \n"
)


INDEX = (
    "idea n 5 3 @ ~ + 5 4 05833840 05920996 05810143  \n"
    "good_will n 3 2 @ ~ 3 1 07547828 04848934  \n"
    "entity n 1 1 ~ 1 1 00001740  \n"
    "9-11 n 3 1 @ 3 0 1  \n"
)


@pytest.fixture()
def wordnet(tmp_path: Path) -> Path:
    data = tmp_path / "wordnet" / "usr" / "share" / "wordnet"
    data.mkdir(parents=True)
    for part in corpus.PARTS:
        for kind, nouns in (("data", NOUNS), ("index", INDEX)):
            text = LICENCE + (nouns if part == "noun" else "")
            (data / f"{kind}.{part}").write_text(text, encoding="latin-1")
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


def test_common_words_have_several_senses(wordnet: Path) -> None:
    assert wordnet_words(wordnet) == ["good will", "idea"]


def test_phrases_are_short_and_varied() -> None:
    made = list(short_phrases(random.Random(3), ["idea", "good will"], 400))
    assert made == list(short_phrases(random.Random(3), ["idea", "good will"], 400))
    lengths = [len(phrase.split()) for phrase in made]
    assert set(lengths) >= {1, 2, 3, 4} and max(lengths) <= 7
    assert all(phrase[-1] in ".?!" and not phrase[0].islower() for phrase in made)
    assert len(set(made)) > 250


def test_clauses_are_joined_as_people_join_them() -> None:
    examples = ["he had three ideas", "I'm here now", "The sea was calm.", "to go home", "red"]
    examples.append("they met in the park")
    assert list(many_clauses(random.Random(3), examples[:3], 5)) == []
    made = list(many_clauses(random.Random(3), examples, 50))
    for sentence in made:
        assert sentence[0].isupper() and sentence.endswith(".")
        assert "to go home" not in sentence and "red" not in sentence.split()
    assert any(", and " in sentence for sentence in made)
    assert any("I'm here" in s and not s.startswith("I'm") for s in made), "I keeps its capital"


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
    config = tiny_voice().corpus.model_copy(update={"templates": 0, "phrases": 0, "clauses": 0})
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
    sizes = {"templates": 20, "longest_words": 8, "phrases": 30, "clauses": 0}
    config = tiny_voice().corpus.model_copy(update=sizes)
    voice = tiny_voice().model_copy(update={"corpus": config})
    corpus.write(tmp_path, voice)
    path = tmp_path / "corpus.txt"
    text = path.read_text(encoding="utf-8")
    keys = [comparable(line) for line in text.splitlines()]
    assert len(keys) > 10 and len(set(keys)) == len(keys)
    lengths = [len(key.split()) for key in keys]
    assert min(lengths) == 1 and max(lengths) <= 8 and len(keys) >= 30
    path.write_text("kept\n", encoding="utf-8")
    corpus.write(tmp_path, voice)
    assert path.read_text(encoding="utf-8") == "kept\n"
    path.unlink()
    corpus.write(tmp_path, voice)
    assert path.read_text(encoding="utf-8") == text

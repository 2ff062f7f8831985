from pathlib import Path

import pytest

from tritone.errors import ModelDirectoryError
from tritone.frontend.text.lexicon import LexiconFile
from tritone.frontend.text.normalize import TextNormalizer


def test_readings(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text(
        "Qt\tcute\tcase\ngrep -v\tgrep minus v\n重庆\t崇庆\tzh\nGIF\t/dʒɪf/\nhi\thello\tzh\n",
        encoding="utf-8",
    )
    plain = TextNormalizer(lexicon=LexiconFile(path))
    assert plain("Qt, qt, QTs: use GREP -V in 5 GIFs. hi") == (
        "cute, qt, Q T's: use grep minus v in five GIFs. hi"
    )
    assert plain("重庆有3个") == "崇庆有三个"
    phonemes = TextNormalizer(lexicon=LexiconFile(path), phonemes=True)
    assert phonemes("a gif") == "a [gif](/dʒɪf/)"
    assert plain("a gif") == "a gif"


def test_words_are_compared_composed(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text("Zoe\u0308\tzo ee\n", encoding="utf-8")
    read = TextNormalizer(lexicon=LexiconFile(path))
    assert read("Zoë") == read("Zoe\u0308") == "zo ee"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("word", "expected a word, a tab, and how it is said"),
        ("word\t", "expected a word, a tab, and how it is said"),
        ("word\tx\tfoo", "'foo' is none of case, nocase, en, zh"),
        ("word\t//", "there are no phonemes between the slashes"),
        ("x" * 201 + "\ty", "has 201 characters; at most 200"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_text(f"# a comment\n\n{line}\n")
    with pytest.raises(ModelDirectoryError, match=r"lexicon\.tsv, line 3: ") as error:
        LexiconFile(path)
    assert problem in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelDirectoryError, match="cannot be read"):
        LexiconFile(path)

import json
from pathlib import Path

import pytest
from frontend_fixtures import GOLDEN

from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.pronounce import Pronouncer, load_pronouncer
from tritone.frontend.text.tokenizer import TextTokenizer

FOLDER = GOLDEN / "phoneme_voice"
SYMBOLS = json.loads((FOLDER / "phonemes.json").read_text(encoding="utf-8"))
NAMES = {character: symbol for symbol, character in SYMBOLS.items()}


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(FOLDER / "tokenizer.json")


@pytest.fixture(scope="module")
def pronounce(tokenizer: TextTokenizer) -> Pronouncer:
    return load_pronouncer(FOLDER / "phonemes.json", tokenizer, TAGS)


def readable(text: str) -> str:
    return "".join(NAMES.get(character, character) for character in text)


def test_words_become_phoneme_characters(pronounce: Pronouncer) -> None:
    spoken = pronounce("The birch canoe slid on the smooth planks.")
    assert readable(spoken.text) == "ðə bˈɜɹʧ kənˈu slˈɪd ˌɔn ðə smˈuð plˈæŋks."
    assert spoken.notes == ()


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Yes; no: well — go…", "jˈɛs, nˈO, wˈɛl, ɡˌO."),
        ("(ok) ok?!", "ˌOkˈA ˌOkˈA?"),
        ("; ; go", "ɡˌO"),
        ("① ﬁ ｇｏ", "wˈʌn fˌI ɡˌO"),
    ],
)
def test_punctuation_is_reduced_to_that_of_the_training_text(
    pronounce: Pronouncer, text: str, spoken: str
) -> None:
    assert readable(pronounce(text).text) == spoken


def test_what_cannot_be_spoken_is_noted(pronounce: Pronouncer) -> None:
    spoken = pronounce("[laughter] go 日本")
    assert readable(spoken.text) == "ɡˌO"
    assert spoken.notes == (
        "skipped tags that this voice cannot speak: [laughter]",
        "skipped characters that this voice cannot speak: 日 本",
    )
    assert pronounce("日本").text == ""
    assert pronounce("➀ ፩ ٣").text == ""  # digits that int() does not read


def test_unknown_sounds_are_noted() -> None:
    pronounce = Pronouncer({"a": "\ue000"}, phonemes=lambda text: "aβ,a")
    assert pronounce("x").text == "\ue000,\ue000"
    assert pronounce("x").notes == ("skipped sounds that this voice cannot speak: β",)


def test_every_character_is_in_the_vocabulary(
    pronounce: Pronouncer, tokenizer: TextTokenizer
) -> None:
    text = "Xyzzy's café; “quotes” & 'more' — 5% of $3.20 [x] <y> @home ½ µ naïve\u0301!"
    assert 0 not in tokenizer.encode(pronounce(text).text)  # 0 is the unknown token


def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    path = tmp_path / "phonemes.json"
    for content, problem in (
        ("{", "is not valid JSON"),
        ("[]", "expected an object"),
        ('{"a": "\\ue999"}', "not in tokenizer.json"),
        ('{"a": 3}', "not in tokenizer.json"),
    ):
        path.write_text(content)
        with pytest.raises(ModelDirectoryError, match=problem):
            load_pronouncer(path, tokenizer)
    with pytest.raises(ModelDirectoryError, match="cannot be read"):
        load_pronouncer(tmp_path / "missing.json", tokenizer)

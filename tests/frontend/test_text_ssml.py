import pytest

from tritone.errors import InvalidRequest
from tritone.frontend.text.settings import TextSettings
from tritone.frontend.text.stage import SpokenPiece, TextStage

TAGS = ("[laughter]", "<strong>", "</strong>")


def pieces(inner: str, *, phonemes: bool = False) -> tuple[SpokenPiece, ...]:
    stage = TextStage(None, TAGS, len, TextSettings(), phonemes=phonemes)
    return stage.block(f"<speak>{inner}</speak>", 0).pieces


@pytest.mark.parametrize(
    ("inner", "spoken"),
    [
        ("a &amp; b &#x27;c&#x27;", "a and b 'c'."),
        ("<sub alias='World Wide Web'>WWW</sub> it", "World Wide Web it."),
        ("<say-as interpret-as='characters'>a1-b</say-as>", "A one dash B."),
        ("<say-as interpret-as='cardinal'>1,234,567</say-as>",
         "one million two hundred thirty four thousand five hundred sixty seven."),
        ("<say-as interpret-as='cardinal'>-1999</say-as>",
         "minus one thousand nine hundred ninety nine."),
        ("<say-as interpret-as='ordinal'>21</say-as>", "twenty first."),
        ("<say-as interpret-as='digits'>2026</say-as>", "two zero two six."),
        ("<say-as interpret-as='date'>2023-7-4</say-as>", "july fourth twenty twenty three."),
        ("<say-as interpret-as='time'>7:05 am</say-as>", "seven o five A M."),
        ("<say-as interpret-as='telephone'>+1 555-0199</say-as>",
         "plus one, five five five, zero one nine nine."),
        ("<say-as interpret-as='currency'>USD 45.30</say-as>", "forty five dollars thirty cents."),
        ("very <emphasis>good</emphasis> [laughter]", "very <strong>good</strong> [laughter]."),
    ],
)  # fmt: skip
def test_what_is_spoken(inner: str, spoken: str) -> None:
    (piece,) = pieces(inner)
    assert piece.text == spoken


def test_breaks_sentences_paragraphs_and_rates() -> None:
    found = pieces(
        "<break time='250ms'/>One<break time='1.5s'/>two<break/>three"
        "<p><s>Four</s><s>Five</s></p><prosody rate='150%'>six</prosody>"
        "<prosody rate='slow'>seven</prosody><break time='2s'/>"
    )
    assert [(p.text, p.pause, p.speed) for p in found] == [
        ("One.", 0.25, 1.0), ("two.", 1.5, 1.0), ("three.", 0.4, 1.0), ("Four.", 0.6, 1.0),
        ("Five.", 0.1, 1.0), ("six.", 0.6, 1.5), ("seven.", 0.0, 0.8),
    ]  # fmt: skip
    assert [p.pause_after for p in found] == [0, 0, 0, 0, 0, 0, 2.0]


def test_places_are_those_of_the_text_as_it_was_sent() -> None:
    text = "<speak>\n é <p>One</p>\r\n<p>two</p></speak>"
    stage = TextStage(None, (), len, TextSettings())
    starts = [piece.start for piece in stage.block(text, 0).pieces]
    assert [text[start] for start in starts] == ["é", "O", "t"]


def test_phonemes_are_for_voices_that_have_them() -> None:
    inner = "say <phoneme alphabet='ipa' ph='təˈmɑːtoʊ'>tomato</phoneme>"
    assert pieces(inner, phonemes=True)[0].text == "say [tomato](/təˈmɑːtoʊ/)."
    with pytest.raises(InvalidRequest, match="<phoneme> this voice has no phoneme tokens"):
        pieces(inner)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<speak>a", "SSML is broken at line 1, column 9"),
        ("<speak>a & b</speak>", "SSML is broken at line 1, column 11"),
        ("<speak>a</speak>b", "SSML is broken at line 1, column 17"),
        ("<speak>\n <voice/></speak>", "line 2, column 2: <voice> is not supported here; speak, p"),
        ("<speak><speak>a</speak></speak>", "<speak> is not supported here"),
        ("<speak>" + "<p>" * 16 + "a", "<p> is nested deeper than 16 elements"),
        ("<speak><break time='1h'/></speak>", "time '1h' is not like 500ms or 1.5s"),
        ("<speak><break time='11s'/></speak>", "time 11s is longer than 10s"),
        ("<speak><break strength='x'/></speak>", "strength 'x' is none of none, x-weak"),
        ("<speak><prosody rate='9'>a</prosody></speak>", "rate '9' is none of x-slow"),
        ("<speak><prosody pitch='1'>a</prosody></speak>", "<prosody> has no attribute 'pitch'"),
        ("<speak><sub>a</sub></speak>", "<sub> needs the attribute alias"),
        ("<speak><say-as interpret-as='x'>a</say-as></speak>", "interpret-as 'x' is none of char"),
        ("<speak><say-as interpret-as='ordinal'>a</say-as></speak>", "cannot read 'a'"),
        ('<!DOCTYPE x [<!ENTITY e "e">]><speak>&e;</speak>', ""),
        ('<speak xmlns="urn:x">&e;</speak>', "SSML is broken at line 1"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    stage = TextStage(None, (), len, TextSettings())
    if not problem:  # only what begins with <speak is SSML
        assert stage.block(text, 0).pieces
        return
    with pytest.raises(InvalidRequest, match=r"^target_text: ") as error:
        stage.block(text, 0)
    assert problem in str(error.value)

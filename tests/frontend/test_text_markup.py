from pathlib import Path

import pytest

from tritone.errors import InvalidRequest
from tritone.frontend.text.line import Break, Pauses
from tritone.frontend.text.markup import lines
from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.settings import TextSettings, text_settings
from tritone.frontend.text.stage import TextStage

normalize = TextNormalizer()


def read(text: str) -> list[tuple[str, Break]]:
    return [(line.text.text, line.before) for line in lines(text, lambda note: None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\nText", [("Title", Break.PARAGRAPH), ("Text", Break.PARAGRAPH)]),
        ("- a\n- b\n\nc", [("a", Break.ITEM), ("b", Break.ITEM), ("c", Break.PARAGRAPH)]),
        ("1. a\n2. b", [("1, a", Break.ITEM), ("2, b", Break.ITEM)]),
        ("2024. What a year", [("2024, What a year", Break.ITEM)]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", [("a, b,", Break.ITEM), ("1, 2,", Break.ITEM)]),
        ("Roses are red\nViolets are blue",
         [("Roses are red", Break.PARAGRAPH), ("Violets are blue", Break.ITEM)]),
        ("a line that is long enough to be one that was wrapped\nAt some width",
         [("a line that is long enough to be one that was wrapped At some width",
           Break.PARAGRAPH)]),
        ("so it\ngoes on", [("so it goes on", Break.PARAGRAPH)]),
        ("<p>One</p><p>Two<br>three</p>",
         [("One", Break.PARAGRAPH), ("Two", Break.PARAGRAPH), ("three", Break.ITEM)]),
        ("<script>x()</script>Hi <!-- no --><wbr>you", [("Hi you", Break.PARAGRAPH)]),
        ("a <odd> b", [("a odd b", Break.PARAGRAPH)]),
        ("![a cat](cat.png) &lt;3 \\*", [("a cat  <3 *", Break.PARAGRAPH)]),
        ("[x]: http://a.org\n    indented", [("[x]: http://a.org indented", Break.PARAGRAPH)]),
        ("~~old~~ 2 * 3 * 4 snake_case_name", [("old 2 * 3 * 4 snake_case_name", Break.PARAGRAPH)]),
        ("```\nnever closed", [("never closed", Break.ITEM)]),
    ],
)  # fmt: skip
def test_lines(text: str, expected: list[tuple[str, Break]]) -> None:
    found = read(text)
    assert [(" ".join(t.split()), b) for t, b in found] == [
        (" ".join(t.split()), b) for t, b in expected
    ]


def test_what_is_read_knows_where_it_came_from() -> None:
    text = "**It** &amp; [you](http://a.org), `x`"
    (line,) = lines(text, lambda note: None)
    assert line.text.text == "It & you, x"
    assert [text[i] for i in line.text.origin[:-1]] == list("It & you, x")
    assert line.text.span == (2, len(text) - 1)


def test_a_code_block_is_skipped_with_a_note() -> None:
    notes: list[str] = []
    found = lines("See:\n```python\nx = 1\ny = 2\n```\nDone.", notes.append)
    assert [line.text.text for line in found] == ["See:", "Done."]
    assert notes == ["skipped a code block of 2 lines"]
    notes.clear()
    assert [line.text.text for line in lines("<style>p{}</style>a<!-- b -->", notes.append)] == [
        "a"
    ]
    assert notes == ["skipped what is in <style>", "skipped an HTML comment"]


def stage(pauses: Pauses | None = None, **options: bool) -> TextStage:
    return TextStage(None, ("[laughter]",), len, TextSettings(pauses or Pauses()), **options)


def test_breaks_become_pauses() -> None:
    text = "# Title\n\nOne. Two.\n\n- three\n- four 😊\n\n—\n\nFive"
    pieces = stage(Pauses(sentence=0.2, item=0.4, paragraph=0.8)).block(text, 0).pieces
    assert [(p.text, p.pause) for p in pieces] == [
        ("Title.", 0.0), ("One. Two.", 0.8), ("three.", 0.4), ("four.", 0.4), ("Five.", 0.8),
    ]  # fmt: skip
    assert [text[p.start :][:4] for p in pieces] == ["Titl", "One.", "thre", "four", "Five"]


def test_a_long_paragraph_is_cut_at_sentences_with_the_sentence_pause() -> None:
    text = "The quick brown fox jumps over lazy puppies. " * 40
    pauses = [p.pause for index in range(4) for p in stage().block(text, index).pieces]
    assert pauses[0] == 0.0 and set(pauses[1:]) == {0.1}
    with pytest.raises(InvalidRequest, match=r"block: is 99; the text has"):
        stage().block(text, 99)


def test_text_without_anything_to_say_has_no_pieces() -> None:
    for text in ("...", "—", "()", "😊", "", "***", "<br>", "!?", "```\nx\n```"):
        assert stage().block(text, 0).pieces == (), text
    assert stage().block("8...", 0).pieces[0].text == "eight."


def test_a_tag_is_heard_alone_but_for_one_of_style() -> None:
    tags = ("[laughter]", "<strong>", "</strong>")
    here = TextStage(None, tags, len, TextSettings())
    pieces = here.block("One.\n\n[laughter]\n\n<strong></strong>\n\nTwo.", 0).pieces
    assert [piece.text for piece in pieces] == ["One.", "[laughter].", "Two."]


def test_a_lexicon_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.tsv"
    text = "Tritone and SQL, Sql and Wenzhou."
    here = TextStage(tmp_path, (), len, TextSettings(), phonemes=True)
    assert here.block(text, 0).pieces[0].text == "Tritone and SQL, Sql and Wenzhou."
    path.write_text("# words\nTritone\ttry tone\nSQL\tsequel\tcase\nWenzhou\t/wʌndʒoʊ/\n")
    assert (
        here.block(text, 0).pieces[0].text == "try tone and sequel, Sql and [Wenzhou](/wʌndʒoʊ/)."
    )
    path.write_text("Tritone\ttry tone\nSQL\n")
    block = here.block(text, 0)
    assert block.pieces[0].text.startswith("try tone")
    assert block.notes == (
        f"{path}, line 2: expected a word, a tab, and how it is said; "
        "the entries from before are in use",
    )
    path.unlink()
    assert here.block(text, 0).pieces[0].text.startswith("Tritone")


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from tritone.errors import EnvironmentProblem

    assert text_settings({"item": 1.5}).pauses == Pauses(item=1.5)
    with pytest.raises(EnvironmentProblem, match="item_pause is -1 seconds; it must be 0 to 10"):
        text_settings({"item": -1.0})
    monkeypatch.setenv("TRITONE_LEXICON", "/no/such.tsv")
    with pytest.raises(EnvironmentProblem, match=r"TRITONE_LEXICON is /no/such\.tsv"):
        text_settings()

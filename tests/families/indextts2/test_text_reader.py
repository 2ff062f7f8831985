"""Written text to spoken words: what the golden cases do not show."""

import pytest

from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.text_glossary import GLOSSARY_NAME, Glossary, read_glossary
from tritone.families.indextts2.text_pinyin import PINYIN, as_piece
from tritone.families.indextts2.text_reader import TextReader, language_of, line_readers
from tritone.frontend.text.lexicon import LEXICON_NAME
from tritone.frontend.text.settings import DEFAULT_TEXT
from tritone.frontend.text.stage import TextStage
from tritone.frontend.text.traced import Change

TERMS = {"C": "see", "C++": {"en": "C plus plus", "zh": "C 加加"}, "IO": {"zh": "输入输出"}}


@pytest.fixture(scope="module")
def read() -> TextReader:
    return TextReader(Glossary(TERMS))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello.", "en"),
        ("Hello 你.", "zh"),
        ("12:30", "zh"),
        ("", "zh"),
        ("a@b.com", "zh"),
        ("write to a@b.com", "en"),
        ("say zhong1", "zh"),
        ("the alphabet2", "en"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "syllable",
    [
        "zhuang4",
        "nüe4",
        "lüan2",
        "nve4",
        "NÜ3",
        "yuan2",
        "weng1",
        "yong3",
        "er2",
        "ng4",
        "a1",
        "shi4",
        "qu5",
    ],
)
def test_pinyin_with_a_tone_is_found(syllable: str) -> None:
    assert [match[0] for match in PINYIN.finditer(f"读{syllable}了")] == [syllable]


@pytest.mark.parametrize("word", ["xr2", "hm2", "zhuang", "zhuang6", "mp3", "bzhong1", "ie", "v"])
def test_what_is_no_pinyin_is_left(word: str) -> None:
    assert not PINYIN.search(f"读{word}了")


def test_only_u_after_j_q_and_x_is_respelled() -> None:
    respelled = [as_piece(one) for one in ("jun1", "Xue2", "qiang2", "nu3", "lü4", "juan3")]
    assert respelled == ["JVN1", "XVE2", "QIANG2", "nu3", "lü4", "JVAN3"]


def test_how_a_word_is_said_is_kept_and_makes_no_chinese(read: TextReader) -> None:
    assert read("They <lead|li4> it's 3.") == "They <lead|li4> it is three."
    assert read("<行|XING2>长3") == "<行|XING2>长三"


def test_a_syllable_within_another_does_not_spoil_it(read: TextReader) -> None:
    assert read("读an1，也读xuan1和an1。") == "读an1,也读XVAN1和an1."


def test_a_hyphen_within_a_term_is_no_minus(read: TextReader) -> None:
    assert read("GPT-5 is not GPT -5.") == "GPT-five is not GPT negative five."


def test_many_terms_names_and_syllables_come_back(read: TextReader) -> None:
    text = "，".join(f"阿{chr(0x4E00 + i)}·李-a{i}x读ju{i % 5 + 1}" for i in range(60))
    spoken = read(text)
    assert spoken.count("-李-") == 60 and spoken.count("读JV") == 60
    assert not any("\ue000" <= char <= "\uf8ff" for char in spoken)


def test_the_longest_term_is_read_in_the_language_of_the_text(read: TextReader) -> None:
    assert read("c++ and c") == "C plus plus and see"
    assert read("学c++") == "学C 加加"
    assert read("the io") == "the IO" and read("很快的io") == "很快的输入输出"


def test_a_reading_is_no_pattern() -> None:
    assert Glossary({"a.b": r"\1\d"})("A.B acb", "en") == r"\1\d acb"


def test_a_text_that_the_rules_do_not_take_is_read_in_parts(read: TextReader) -> None:
    """They know no character beside a digit that is in no script they were made for."""
    assert read("It is \u05d0" + "5 and 6.").endswith("and six.")


def test_marks_become_those_that_are_pieces(read: TextReader) -> None:
    assert read("「你」、他；她：《书》～……") == "'你',他,她,'书'-…"
    assert read("他说\n你") == "他说 你"


@pytest.mark.parametrize("reading", ["5", '["a"]', '{"fr": "a"}', '{"en": 1}', "null"])
def test_a_wrong_glossary_is_refused(tmp_path, reading: str) -> None:
    path = tmp_path / GLOSSARY_NAME
    path.write_text(f'{{"ok": "fine", "term": {reading}}}', encoding="utf-8")
    with pytest.raises(ModelDirectoryError, match=r"glossary.json: 'term' has .* one for zh"):
        read_glossary(path)


def test_a_glossary_is_read(tmp_path) -> None:
    assert read_glossary(tmp_path / GLOSSARY_NAME)("as it is", "en") == "as it is"
    (tmp_path / GLOSSARY_NAME).write_text('{"is": {"en": "was"}}', encoding="utf-8")
    assert read_glossary(tmp_path / GLOSSARY_NAME)("as IT Is", "en") == "as IT was"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> TextStage:
    folder = tmp_path_factory.mktemp("model")
    (folder / LEXICON_NAME).write_text("Nguyen\tWin 5\n", encoding="utf-8")
    readers = line_readers(Glossary({"C++": "C plus plus"}))
    return TextStage(folder, (), len, DEFAULT_TEXT, readers=readers, cut=lambda text, _: [text])


def test_a_document_is_read_line_by_line(stage: TextStage) -> None:
    """What is silent, the deployment's own words and pauses are those of every family."""
    text = "# Mr. Nguyen has 3\n\n* c++ and *more*\n* 说wo3爱你！5个 <!-- not this -->"
    block = stage.block(text, 0)
    spoken = [piece.text for piece in block.pieces]
    assert spoken == ["Mister Win 5 has three", "C plus plus and more", "说wo3爱你!五个"]
    assert [text[piece.start] for piece in block.pieces] == ["M", "c", "说"]
    assert [piece.pause for piece in block.pieces] == [0.0, 0.3, 0.3]
    assert block.notes == ("skipped an HTML comment",)


def test_each_sentence_is_traced_to_where_it_stands(stage: TextStage) -> None:
    text = "It costs 500 dollars. That's 12:30, right? Fine."
    seen: list[Change] = []
    stage.block(text, 0, seen.append)
    assert [(text[one.start : one.end], one.after) for one in seen] == [
        ("It costs 500 dollars.", "It costs five hundred dollars."),
        ("That's 12:30, right?", "That is twelve thirty, right?"),
    ]
    document = stage.normalize.read(text)
    spoken, _ = stage.normalize.spoken(document, document.lines[0], "en")
    for words in ("It costs", "That is", "Fine"):
        assert spoken.origin[spoken.text.index(words)] == text.index(words.split()[0][:4])


def test_pinyin_in_english_is_read_as_such(stage: TextStage) -> None:
    (piece,) = stage.block("Say zhong1 guo2, please.", 0).pieces
    assert piece.text == "Say zhong1 guo2, please."

"""CosyVoice3's prompts: the system's words, instructions, phonemes."""

import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cosyvoice3_frontend_fixtures import (
    END_OF_PROMPT_ID,
    OFFSET,
    byte_model,
    cosyvoice3_voice,
)
from frontend_fixtures import FRONTEND_GOLDEN
from parity.cosyvoice3_frontend import cases
from parity.folders import comparisons
from paths import COSYVOICE3, GOLDEN
from safetensors.numpy import load_file

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.cloning import Cloner
from tritone.families.cosyvoice3.config import CosyVoice3Config
from tritone.families.cosyvoice3.frontend import CosyVoice3Frontend
from tritone.families.cosyvoice3.phonemes import PHONEMES
from tritone.frontend.text.pronounce import PHONEMES_NAME, load_pronouncer
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.frontend.voices import VoiceStore, save_voice
from tritone.synthesis.values import Segment, SynthesisRequest

WORDS = "You are a helpful assistant."
SYSTEM = f"{WORDS}<|endofprompt|>"
SOS, TASK_ID = OFFSET + 6564, OFFSET + 6565
PROMPTS = load_file(FRONTEND_GOLDEN / "prompt_frontend.safetensors")
REFERENCE = {"reference_wav": PROMPTS["p1.wav_TxCh"][:, 0], "reference_rate": 24000}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder, _ = byte_model(tmp_path)
    save_voice(VoiceStore(folder).path("full"), cosyvoice3_voice(10, "the prompt"))
    save_voice(VoiceStore(folder).path("mute"), cosyvoice3_voice(10))
    return folder


@pytest.fixture
def frontend(model: Path) -> CosyVoice3Frontend:
    return CosyVoice3Frontend(*byte_model(model))


@pytest.fixture
def tokenizer(model: Path) -> TextTokenizer:
    return TextTokenizer(model / "tokenizer.json")


def prepare(frontend: CosyVoice3Frontend, text: str = "hello.", **changes: Any) -> list[Segment]:
    return list(frontend.prepare(SynthesisRequest(text=text, **changes)))


def ids_of(frontend: CosyVoice3Frontend, text: str = "hello.", **changes: Any) -> list[int]:
    (one,) = prepare(frontend, text, **changes)
    assert one.prompt.ids is not None
    ids: list[int] = one.prompt.ids.tolist()
    return ids


def test_golden_data_of_upstream() -> None:
    """Every token and layout with the released ids, and the 26 instructions."""
    folder = GOLDEN / "cosyvoice3"
    assert cases in comparisons(folder)
    results = list(cases(folder))
    assert len(results) == 39
    assert [result for result in results if not result.passed] == []


def test_a_checkpoint_of_phonemes_is_given_phonemes(tmp_path: Path) -> None:
    config, tokenizer = (
        CosyVoice3Config.read(COSYVOICE3),
        TextTokenizer(COSYVOICE3 / "tokenizer.json"),
    )
    text = load_pronouncer(COSYVOICE3 / PHONEMES_NAME, tokenizer)("a warm supper.").text
    ids = ids_of(CosyVoice3Frontend(COSYVOICE3, config), "a warm supper.")
    end = ids.index(tokenizer.control_id("<|endofprompt|>"))
    assert ids[end + 1 :] == [*tokenizer.encode(text), config.llm.task_id]
    shutil.copy(COSYVOICE3 / "tokenizer.json", tmp_path)
    with pytest.raises(ModelDirectoryError, match=r"phonemes\.json"):
        CosyVoice3Frontend(tmp_path, config)


@pytest.mark.parametrize("before", ["", SYSTEM])
def test_zero_shot_layout(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer, before: str
) -> None:
    """A client may bring the system's words, as upstream's clients must."""
    (one,) = prepare(frontend, reference_text=f"{before}I have 2 of the", **REFERENCE)
    text = tokenizer.encode("hello.")
    assert one.prompt.ids.tolist() == [
        SOS,
        *tokenizer.encode(WORDS),
        END_OF_PROMPT_ID,
        *tokenizer.encode("I have two of the"),
        *text,
        TASK_ID,
        *(one.voice.prompt_tokens + OFFSET).tolist(),  # type: ignore[attr-defined]
    ]
    assert one.target_tokens == len(text)


@pytest.mark.parametrize("before", ["", SYSTEM, f" {SYSTEM} "])
def test_cross_lingual_layout_and_length(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer, before: str
) -> None:
    """The system's words count for no speech, unlike upstream; places are those of the text as it
    was sent."""
    text = f"{before}# One\n\n- two"
    first, second = prepare(frontend, text, voice="mute")
    lead = [SOS, *tokenizer.encode(WORDS), END_OF_PROMPT_ID]
    for segment, words in ((first, "One."), (second, "two.")):
        ids = tokenizer.encode(words)
        assert segment.prompt.ids.tolist() == [*lead, *ids, TASK_ID]
        assert segment.target_tokens == len(ids)
    assert text[first.start :].startswith("One")
    assert text[second.start :].startswith("two")


@pytest.mark.parametrize(
    "written", ["Speak 2x", "Speak 2x<|endofprompt|>", f"{WORDS} Speak 2x<|endofprompt|> "]
)
def test_instruct_layout(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer, written: str
) -> None:
    assert ids_of(frontend, voice="full", instruct_text=written) == [
        SOS,
        *tokenizer.encode(f"{WORDS} Speak 2x"),
        END_OF_PROMPT_ID,
        *tokenizer.encode("hello."),
        TASK_ID,
    ]


def test_the_systems_words_alone_are_no_transcript(frontend: CosyVoice3Frontend) -> None:
    (with_words,) = prepare(frontend, reference_text=SYSTEM, **REFERENCE)
    (without,) = prepare(frontend, **REFERENCE)
    assert with_words.prompt.ids.tolist() == without.prompt.ids.tolist()
    assert without.voice_cached


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("reference_text", "the <|endofsystem|>prompt", r"has <\|endofsystem\|>, which"),
        ("reference_text", f"{SYSTEM}the <|s_12|> prompt", r"has <\|s_12\|>, which"),
        ("reference_text", "Be loud.<|endofprompt|>the prompt", r"has 'Be loud\.' before"),
        ("instruct_text", "Be <|im_end|>loud", r"has <\|im_end\|>, which"),
        ("instruct_text", f"{SYSTEM}Be loud", r"has <\|endofprompt\|>, which"),
        ("instruct_text", "\u200b", "has no words; leave it out"),
        ("instruct_text", "...", "has no words; leave it out"),
        ("instruct_text", SYSTEM, "has no words; leave it out"),
        ("target_text", "Be loud.<|endofprompt|>hello", "send an instruction as instruct_text"),
        ("target_text", "hello [AH3] there", r"has \[AH3\], which is no phoneme of this model; "),
        ("reference_text", "the [n][ǐng][AX]", r"has \[AX\], which is no phoneme"),
    ],
)
def test_what_is_wrong_is_named_before_any_work(
    frontend: CosyVoice3Frontend,
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    text: str,
    message: str,
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the recording was read")

    monkeypatch.setattr(Cloner, "voice", read)
    request = SynthesisRequest(
        **{"text": "hello.", **REFERENCE, _ATTRIBUTE.get(field, field): text}
    )
    with pytest.raises(InvalidRequest, match=message) as caught:
        frontend.voice_of(request)
    assert caught.value.field == field


_ATTRIBUTE = {"target_text": "text"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("[AH3]", "[AH2] [AH1] [AH0]"),
        ("[HH][AX]", "[AY] [AW] [AO]"),
        ("[Zh][òng]", "[zh] [ZH]"),
        ("[hh][ah0]", "[AH0]"),
        ("[nǐ]", "[ǐ] [n]"),
        ("[hao3]", "[ao]"),
        ("[zhong4]", "[ong]"),
    ],
)
def test_the_nearest_phonemes_are_named(
    frontend: CosyVoice3Frontend, form: Any, written: str, nearest: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        prepare(frontend, unicodedata.normalize(form, f"好{written}"), voice="mute")
    assert "the nearest are " in str(caught.value)
    for token in nearest.split():
        assert token in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "He said it [sic] here [TV] [US] [1] [Q4] [fig1] [e4] [café].",
        "A [AH3](https://example.com) link.",
        "[laughter][L][breath] well[quick_breath][L].",
    ],
)
def test_other_brackets_are_text(frontend: CosyVoice3Frontend, text: str) -> None:
    assert prepare(frontend, text, voice="mute")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("等方式对报道[j][ǐ]予3次好评", "等方式对报道[j][ǐ]予三次好评。"),
        ("He said [HH][AH0][L][OW1] 2 times.", "He said [HH][AH0][L][OW1] two times."),
        ("[AH0]你好", "[AH0]你好。"),
        ("[n][ǐ][h][ǎo]", "[n][ǐ][h][ǎo]."),
        ("<speak>say <sub alias='[HH][AY1]'>hi</sub></speak>", "say [HH][AY1]."),
    ],
)
def test_phonemes_pass_the_normaliser(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer, form: Any, written: str, spoken: str
) -> None:
    (one,) = prepare(frontend, unicodedata.normalize(form, written), voice="mute")
    assert one.text == spoken
    ids = {i for i in one.prompt.ids.tolist() if i > END_OF_PROMPT_ID}
    assert {t for t in PHONEMES if t in spoken} == {
        tokenizer.decode([i]) for i in ids - {SOS, TASK_ID}
    }


@pytest.mark.parametrize("word", ["[zh][òng]", "[HH][AY1]"])
@pytest.mark.parametrize("first", ["", "一", "a"])
def test_no_segment_ends_within_a_phoneme(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer, word: str, first: str
) -> None:
    segments = prepare(frontend, first + word * 300, voice="mute")
    assert len(segments) > 1
    spoken = "".join(segment.text for segment in segments)
    assert spoken.rstrip("。.") == first + word * 300
    for segment in segments:
        assert segment.text.count("[") == segment.text.count("]")


def test_a_reference_may_hold_phonemes(
    frontend: CosyVoice3Frontend, tokenizer: TextTokenizer
) -> None:
    ids = ids_of(frontend, reference_text="I have [HH][AH0] of the", **REFERENCE)
    assert tokenizer.encode("[HH]")[0] in ids


@pytest.mark.parametrize("instruction", [None, "softly"])
def test_the_system_s_words_are_read_before_text_and_speech_take_turns(
    frontend: CosyVoice3Frontend, instruction: str | None
) -> None:
    request = SynthesisRequest("hello you there", voice="full", instruct_text=instruction)
    growing = replace(request, settled=len("hello you"))
    (piece,) = frontend.block(growing, 0, frontend.voice_of(request)[0]).pieces
    ids = piece.prompt.ids.tolist()
    assert ids[piece.opening - 1] == END_OF_PROMPT_ID and piece.text == "hello you"
    assert ids.count(END_OF_PROMPT_ID) == 1

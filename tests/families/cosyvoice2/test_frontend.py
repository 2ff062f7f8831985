import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frontend_fixtures import (
    END_OF_PROMPT_ID,
    FRONTEND_GOLDEN,
    OFFSET,
    SOS,
    TASK_ID,
    byte_model,
    model_config,
    phoneme_model,
    voice,
)
from parity.frontend import GROUPS, cases
from safetensors.numpy import load_file

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.cloning import Cloner
from tritone.families.cosyvoice2.config import TextConfig
from tritone.families.cosyvoice2.frontend import CosyVoice2Frontend
from tritone.families.cosyvoice2.reference import load_reader
from tritone.frontend.text.growing import settled
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.frontend.voices import VoiceStore, save_voice
from tritone.synthesis.values import Segment, SynthesisRequest

PROMPTS = load_file(FRONTEND_GOLDEN / "prompt_frontend.safetensors")
WAV = PROMPTS["p1.wav_TxCh"][:, 0]
RATE = 24000


@pytest.fixture
def frontend(tmp_path: Path) -> CosyVoice2Frontend:
    folder, config = byte_model(tmp_path)
    save_voice(VoiceStore(folder).path("full"), voice(10, transcript="the prompt"))
    save_voice(VoiceStore(folder).path("mute"), voice(10))
    return CosyVoice2Frontend(folder, config)


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return TextTokenizer(byte_model(tmp_path)[0] / "tokenizer.json")


def prepare(frontend: CosyVoice2Frontend, text: str = "hello.", **changes: Any) -> list[Segment]:
    return list(frontend.prepare(SynthesisRequest(text=text, **changes)))


def test_zero_shot_layout(frontend: CosyVoice2Frontend, tokenizer: TextTokenizer) -> None:
    (one,) = prepare(
        frontend, reference_wav=WAV, reference_rate=RATE, reference_text="I have 2 of the"
    )
    speech = one.voice.prompt_tokens
    text = tokenizer.encode("hello.")
    assert one.prompt.ids.dtype == np.int32
    assert one.prompt.ids.tolist() == [
        SOS,
        *tokenizer.encode("I have two of the"),
        *text,
        TASK_ID,
        *(speech + OFFSET).tolist(),
    ]
    assert one.target_tokens == len(text)
    assert one.text == "hello."
    assert len(speech) >= 28 and len(one.voice.prompt_mel) == 2 * len(speech)


def test_a_recording_is_read_as_upstream_reads_it(tmp_path: Path) -> None:
    """Once it is what it should be: the front end trims and levels it before."""
    folder, config = byte_model(tmp_path)
    voice = load_reader(folder, config.llm.speech_codes).read(WAV, RATE)
    wanted = PROMPTS["p1.llm_prompt_speech_token"][0]
    np.testing.assert_array_equal(voice.prompt_tokens, wanted)
    mel = PROMPTS["p1.prompt_speech_feat"][0]
    np.testing.assert_allclose(voice.prompt_mel, mel, rtol=0, atol=1e-4)
    embedding = PROMPTS["p1.llm_embedding"][0]
    np.testing.assert_allclose(voice.embedding, embedding, rtol=0, atol=1e-3)


def test_prompt_and_text_are_tokenised_apart(
    frontend: CosyVoice2Frontend, tokenizer: TextTokenizer
) -> None:
    """`t` + `he` merges to `the` only in a joint encoding."""
    reference = {"reference_wav": WAV, "reference_rate": RATE, "reference_text": "t"}
    (one,) = prepare(frontend, "he.", **reference)
    assert one.prompt.ids[1:4].tolist() == [*tokenizer.encode("t"), *tokenizer.encode("he.")]


def test_cross_lingual_layout(frontend: CosyVoice2Frontend, tokenizer: TextTokenizer) -> None:
    for blank in (None, " "):
        (one,) = prepare(frontend, reference_wav=WAV, reference_rate=RATE, reference_text=blank)
        assert one.prompt.ids.tolist() == [SOS, *tokenizer.encode("hello."), TASK_ID]
        assert 28 <= len(one.voice.prompt_tokens) <= 30


@pytest.mark.parametrize("instruction", ["Speak 2x", "Speak 2x<|endofprompt|>"])
def test_instruct_layout_closes_the_instruction_once(
    frontend: CosyVoice2Frontend, tokenizer: TextTokenizer, instruction: str
) -> None:
    (one,) = prepare(frontend, voice="full", instruct_text=instruction)
    start = [SOS, *tokenizer.encode("Speak 2x"), END_OF_PROMPT_ID]
    assert one.prompt.ids.tolist() == [*start, *tokenizer.encode("hello."), TASK_ID]
    assert len(one.voice.prompt_tokens) == 10
    assert one.notes == ()


@pytest.mark.parametrize("instruction", ["\u200b", "...", "<|endofprompt|>"])
def test_an_instruction_without_words_is_refused(
    frontend: CosyVoice2Frontend, instruction: str
) -> None:
    with pytest.raises(InvalidRequest, match="instruct_text: has no words; leave it out"):
        prepare(frontend, voice="full", instruct_text=instruction)


def test_an_instruction_is_refused_before_the_recording_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = byte_model(tmp_path)
    frontend = CosyVoice2Frontend(folder, model_config(TextConfig()))
    monkeypatch.delattr(Cloner, "voice")
    with pytest.raises(InvalidRequest, match="does not follow instructions"):
        prepare(frontend, instruct_text="softly", reference_wav=WAV, reference_rate=RATE)


def test_an_unused_transcript_is_noted(frontend: CosyVoice2Frontend) -> None:
    reference = {"reference_wav": WAV, "reference_rate": RATE, "reference_text": "the"}
    (one,) = prepare(frontend, instruct_text="softly", **reference)
    assert one.notes == ("reference_text is not used with instruct_text",)


def test_registered_voices(frontend: CosyVoice2Frontend, tokenizer: TextTokenizer) -> None:
    (full,) = prepare(frontend, voice="full")
    assert full.prompt.ids.tolist() == [
        SOS,
        *tokenizer.encode("the prompt"),
        *tokenizer.encode("hello."),
        TASK_ID,
        *(full.voice.prompt_tokens + OFFSET).tolist(),
    ]
    (mute,) = prepare(frontend, voice="mute")
    assert mute.prompt.ids.tolist() == [SOS, *tokenizer.encode("hello."), TASK_ID]
    with pytest.raises(InvalidRequest, match="registered voices: full, mute"):
        prepare(frontend, voice="nobody")


def test_without_any_voice(frontend: CosyVoice2Frontend) -> None:
    with pytest.raises(InvalidRequest, match="no default voice; registered voices: full, mute"):
        prepare(frontend)


def test_the_default_voice(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path, default_voice="me")
    save_voice(VoiceStore(folder).path("me"), voice(3, transcript="so"))
    (one,) = prepare(CosyVoice2Frontend(folder, config))
    assert len(one.voice.prompt_tokens) == 3


def test_control_tokens_in_a_request_stay_text(frontend: CosyVoice2Frontend) -> None:
    text = "a <|im_start|><|endofprompt|><|s_12|><|sos|><|task_id|><|eos1|> b"
    (one,) = prepare(frontend, text, voice="mute", instruct_text=text)
    ids = one.prompt.ids.tolist()
    assert (ids[0], ids[-1], ids.count(END_OF_PROMPT_ID)) == (SOS, TASK_ID, 1)
    assert all(i < 264 for i in ids[1:-1] if i != END_OF_PROMPT_ID)


def test_long_text_becomes_segments_of_one_voice(frontend: CosyVoice2Frontend) -> None:
    text = "Pi is 3.14 and e is 2.71, or so. Not Dr. Brown. " * 30
    segments = prepare(frontend, text, voice="full")
    assert len(segments) > 5
    assert all(one.voice is segments[0].voice for one in segments)
    assert all(one.target_tokens <= 160 for one in segments)
    assert sum(one.text.count("three point one four") for one in segments) == 30


def test_segments_are_made_when_asked_for(frontend: CosyVoice2Frontend) -> None:
    segments = frontend.prepare(SynthesisRequest(text="It is 3. " * 200, voice="full"))
    assert "three" in next(segments).text


@pytest.mark.parametrize("text", ["...", "😀", "\u200b", "，。", "<|—|>"])
def test_nothing_to_speak_is_the_callers_mistake(frontend: CosyVoice2Frontend, text: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing that this voice can speak") as caught:
        prepare(frontend, text, voice="full")
    assert caught.value.field == "target_text"


def test_the_same_reference_is_read_once(frontend: CosyVoice2Frontend) -> None:
    reference = {"reference_wav": WAV, "reference_rate": RATE}
    (first,) = prepare(frontend, **reference, reference_text="the")
    (second,) = prepare(frontend, "other.", **reference, reference_text="the")
    (third,) = prepare(frontend, **reference, reference_text="then")
    assert first.voice.prompt_mel is second.voice.prompt_mel
    assert (first.voice_cached, second.voice_cached, third.voice_cached) == (False, True, False)
    assert first.voice is not third.voice


def test_without_the_onnx_models_only_cloning_is_refused(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path, cloning=False)
    save_voice(VoiceStore(folder).path("me"), voice(3))
    frontend = CosyVoice2Frontend(folder, config)
    assert len(prepare(frontend, voice="me")) == 1
    with pytest.raises(
        InvalidRequest, match=r"lacks speech_tokenizer\.onnx and speaker_encoder\.onnx"
    ) as caught:
        prepare(frontend, reference_wav=WAV, reference_rate=RATE)
    assert caught.value.field == "reference_wav"


def test_a_damaged_onnx_model_is_named(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path)
    (folder / "speaker_encoder.onnx").write_bytes(b"junk")
    with pytest.raises(ModelDirectoryError, match=r"speaker_encoder\.onnx: cannot be loaded"):
        CosyVoice2Frontend(folder, config)


@pytest.mark.parametrize("offset", [283, 285])
def test_files_of_two_checkpoints_are_noticed(tmp_path: Path, offset: int) -> None:
    """Too few ids are no harm to the language model, but read tags and phonemes as letters."""
    folder, _ = byte_model(tmp_path, cloning=False)
    message = rf"284 ids, but in config\.json speech starts at {offset}: .* convert the release"
    with pytest.raises(ModelDirectoryError, match=message):
        CosyVoice2Frontend(folder, model_config(TextConfig(), offset=offset))


def test_a_voice_with_foreign_codes_is_refused(tmp_path: Path) -> None:
    folder, config = byte_model(tmp_path, cloning=False)
    foreign = voice(3)
    foreign.prompt_tokens[0] = 6561
    save_voice(VoiceStore(folder).path("me"), foreign)
    with pytest.raises(ModelDirectoryError, match="voice me: has speech codes outside 0 to 6560"):
        prepare(CosyVoice2Frontend(folder, config), voice="me")


def test_phoneme_checkpoint(tmp_path: Path) -> None:
    folder, config = phoneme_model(tmp_path)
    frontend = CosyVoice2Frontend(folder, config)
    (one,) = prepare(frontend, "It cost $5.")
    assert one.text == "It cost five dollars."
    assert one.prompt.ids[[0, -1]].tolist() == [config.llm.sos_id, config.llm.task_id]
    phonemes = one.prompt.ids[1:-1]
    assert set(phonemes.tolist()) <= {1, 3, *range(33, 81)}  # space, full stop, phonemes
    assert one.target_tokens == len(phonemes)
    with pytest.raises(InvalidRequest, match="cannot speak: 日 本"):
        prepare(frontend, "日本")
    with pytest.raises(InvalidRequest, match="does not follow instructions"):
        prepare(frontend, instruct_text="softly")


def test_golden_data_of_upstream() -> None:
    """All groups but the two whose files are too big to keep here."""
    groups = [name for name in GROUPS if name not in ("merged_layout", "tokenizer")]
    results = list(cases(FRONTEND_GOLDEN, groups))
    assert len(results) > 100
    assert [result for result in results if not result.passed] == []
    assert sum(result.informational for result in results) < len(results) / 2


def test_the_front_end_does_not_import_torch() -> None:
    code = "import sys, tritone.frontend; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("instruction", [None, "softly"])
def test_a_growing_text_has_the_ids_that_stay(tmp_path: Path, instruction: str | None) -> None:
    frontend = CosyVoice2Frontend(*byte_model(tmp_path))
    save_voice(VoiceStore(tmp_path).path("full"), voice(10, "the prompt"))
    text = "Hello there, I paid $3.50 for it."

    def ids(length: int, settled: int) -> list[int]:
        request = SynthesisRequest(
            text[:length], voice="full", instruct_text=instruction, settled=settled
        )
        pieces = frontend.block(request, 0, frontend.voice_of(request)[0]).pieces
        assert all(piece.opening == 1 for piece in pieces), "the transcript takes turns too"
        return [i for p in pieces for i in p.prompt.ids[_text_of(p)].tolist()]

    (whole,) = frontend.prepare(SynthesisRequest(text, voice="full", instruct_text=instruction))
    expected = whole.prompt.ids[_text_of(whole)].tolist()
    assert ids(len(text), len(text)) == expected
    for length in range(1, len(text)):
        found = ids(length, settled(text[:length]))
        assert expected[: len(found)] == found
    assert 5 < len(found) < len(expected)


def _text_of(piece: Any) -> slice:
    end = piece.prompt.ids.tolist().index(TASK_ID)
    return slice(end - piece.target_tokens, end)

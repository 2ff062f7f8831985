"""Requests to prompts, with small networks of random weights in a model directory."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_front import GOLDEN
from safetensors.torch import load_file, save_file
from torch import nn

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.emotion import EMOTIONS_FILE, STYLES, VECTORS
from tritone.families.indextts2.emotion_model_config import EmotionModelConfig
from tritone.families.indextts2.frontend import (
    PROMPTER_FILE,
    TOKENIZER_FILE,
    IndexTTS2Frontend,
)
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.reference_config import (
    CodecConfig,
    ReferenceConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.text_tokenizer import PieceTokenizer
from tritone.families.indextts2.voice import Voice
from tritone.families.indextts2.voice_reader import (
    CODEC_FILE,
    CONDITIONING_FILE,
    FILES,
    SPEAKER_FILE,
    W2V_BERT_FILE,
)
from tritone.families.indextts2.w2v_bert import W2vBert
from tritone.frontend.voices import save_voice
from tritone.synthesis.values import Emotion, Segment, SynthesisRequest

WIDTH, LATENTS = 24, 4


@dataclass(frozen=True)
class Config:
    """The part of config.json that a front end reads."""

    gpt: GptConfig
    reference: ReferenceConfig
    family: str = "indextts2"
    default_voice: str | None = None
    emotions: tuple[int, ...] = (1, 2, 1, 1, 1, 1, 1, 1)
    emotion_model: EmotionModelConfig | None = None


def tiny_config() -> Config:
    sizes = {"width": 24, "hidden": 40, "layers": 1}
    emotion = ConditionerConfig(width=16, hidden=24, heads=2, blocks=1, latents=1, latent_width=20)
    speaker = emotion.model_copy(update={"latents": LATENTS, "latent_width": WIDTH})
    return Config(
        GptConfig(
            features=24,
            width=WIDTH,
            layers=1,
            heads=2,
            codes=32,
            code_positions=40,
            text_ids=128,
            text_positions=130,
            speaker=speaker,
            emotion=emotion,
        ),
        ReferenceConfig(
            w2v_bert=W2vBertConfig(heads=4, **sizes),
            codec=CodecConfig(codes=32, code_width=4, backbone=16, **sizes),
            speaker=SpeakerEncoderConfig(width=10, planes=4, channels=16, growth=4),
        ),
    )


CONFIG = tiny_config()
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    PROMPTER_FILE: lambda: Prompter(CONFIG.gpt),
    CONDITIONING_FILE: lambda: Conditioning(CONFIG.gpt),
    W2V_BERT_FILE: lambda: W2vBert(CONFIG.reference.w2v_bert),
    CODEC_FILE: lambda: SemanticCodec(CONFIG.reference.codec),
    SPEAKER_FILE: lambda: CamPlusPlus(CONFIG.reference.speaker),
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(GOLDEN / "pieces.model", folder / TOKENIZER_FILE)
    (folder / "glossary.json").write_text('{"Q&A": "questions"}', encoding="utf-8")
    torch.manual_seed(8)
    for name, build in NETWORKS.items():
        network = build()
        for parameter in network.parameters():
            if parameter.dim() < 2 or name == PROMPTER_FILE:
                parameter.data.normal_()
        save_file(network.state_dict(), folder / name)
    examples = sum(CONFIG.emotions)
    tables = {STYLES: torch.randn(examples, 10), VECTORS: torch.randn(examples, WIDTH)}
    save_file(tables, folder / EMOTIONS_FILE)
    return folder


@pytest.fixture(scope="module")
def frontend(model_dir: Path) -> IndexTTS2Frontend:
    return IndexTTS2Frontend(model_dir, CONFIG)


def speech() -> np.ndarray:
    """Two tones that come and go, as syllables do."""
    t = np.arange(2 * 16000) / 16000
    wave = np.sin(2 * np.pi * 180 * t) + 0.5 * np.sin(2 * np.pi * 960 * t)
    return (0.2 * wave * np.abs(np.sin(2 * np.pi * 3 * t))).astype(np.float32)


REQUEST = SynthesisRequest("The birch canoe.", reference_wav=speech())


def segments(frontend: IndexTTS2Frontend, text: str) -> list[Segment]:
    return list(frontend.prepare(replace(REQUEST, text=text)))


def test_a_prompt_is_the_speaker_then_the_text(
    frontend: IndexTTS2Frontend, model_dir: Path
) -> None:
    (segment,) = segments(frontend, "The birch canoe.")
    ids = PieceTokenizer(model_dir / TOKENIZER_FILE)("The birch canoe.").ids
    embeddings = segment.prompt.embeddings
    assert embeddings is not None and embeddings.dtype == np.float32
    assert embeddings.shape == (LATENTS + 2 + len(ids) + 2, WIDTH)
    assert segment.target_tokens == len(ids) and segment.text == "THE BIRCH CANOE."
    voice = segment.voice
    assert isinstance(voice, Voice)
    np.testing.assert_allclose(embeddings[:LATENTS], voice.latents + voice.emotion, atol=1e-6)


def test_the_same_recording_is_read_once(frontend: IndexTTS2Frontend) -> None:
    request = replace(REQUEST, reference_wav=speech()[:-100])
    first, again = (frontend.voice_of(request) for _ in range(2))
    assert first[0] is again[0] and (first[1], again[1]) == (False, True)


def test_long_text_becomes_several_segments_of_one_voice(frontend: IndexTTS2Frontend) -> None:
    text = "The birch canoe slid on the smooth planks. " * 12 + "\n\nA new line."
    found = segments(frontend, text)
    assert len(found) > 3 and len({id(one.voice) for one in found}) == 1
    assert all(one.target_tokens <= 121 for one in found)
    assert found[-1].text == "A NEW LINE." and found[-1].pause == 0.6
    assert text[found[-1].start :] == "A new line."
    assert [one.pause for one in found[:-1]] == [0.0] + [0.1] * (len(found) - 2)


def test_the_glossary_and_pinyin_of_a_text_are_read(frontend: IndexTTS2Frontend) -> None:
    first, second = segments(frontend, "Q&A, 5 times.\n\n读ju4子。")
    assert first.text == "QUESTIONS, FIVE TIMES." and second.text == "读 JV4 子 ."


def test_what_is_not_used_is_said(frontend: IndexTTS2Frontend) -> None:
    request = replace(REQUEST, reference_text="What is said.")
    (segment,) = frontend.prepare(request)
    assert "reference_text is not used by this model" in segment.notes


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"instruct_text": "Whisper."}, "instruct_text"),
        ({"reference_wav": None}, "reference_wav"),
        ({"reference_wav": None, "voice": "nobody"}, "voice"),
        ({"text": "  "}, "target_text"),
        ({"text": "***"}, "target_text"),
    ],
)
def test_what_cannot_be_served_is_refused(
    frontend: IndexTTS2Frontend, changes: dict, field: str
) -> None:
    with pytest.raises(InvalidRequest, match=field):
        list(frontend.prepare(replace(REQUEST, **changes)))


def test_a_registered_voice_speaks_without_what_clones(model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_dir, folder)
    voice = IndexTTS2Frontend(folder, CONFIG).reader.voice(speech(), 16000, 0.3)
    save_voice(folder / "voices" / "ann.safetensors", voice)
    for name in FILES:
        (folder / name).unlink()
    frontend = IndexTTS2Frontend(folder, replace(CONFIG, default_voice="ann"))
    frontend.warm_up()
    (segment,) = frontend.prepare(SynthesisRequest("The birch canoe."))
    assert np.array_equal(segment.voice.to_arrays()["latents"], voice.latents)
    with pytest.raises(InvalidRequest, match=r"lacks w2v_bert\.safetensors and .*conditioning"):
        list(frontend.prepare(REQUEST))


def test_a_voice_of_another_checkpoint_is_refused(frontend: IndexTTS2Frontend) -> None:
    voice, _ = frontend.voice_of(REQUEST)
    assert not voice.fault(CONFIG.gpt, CONFIG.reference)
    others = {
        "latents of shape [3, 24]": replace(voice, latents=voice.latents[1:]),
        "emotion of shape [23]": replace(voice, emotion=voice.emotion[1:]),
        "style of shape [9]": replace(voice, style=voice.style[1:]),
        "codes outside 0 to 31": replace(voice, codes=voice.codes + 32),
    }
    for fault, other in others.items():
        assert fault in other.fault(CONFIG.gpt, CONFIG.reference)
        with pytest.raises(InvalidRequest, match="prepared_voice"):
            frontend.block(REQUEST, 0, other)


def emotion_of(frontend: IndexTTS2Frontend, emotion: Emotion | None = None) -> np.ndarray:
    voice, _ = frontend.voice_of(replace(REQUEST, emotion=emotion))
    return voice.emotion


def test_the_emotion_of_another_recording_takes_the_place_of_the_speaker_s(
    frontend: IndexTTS2Frontend,
) -> None:
    own, other = emotion_of(frontend), frontend.reader.emotion(speech()[::2], 16000)
    for weight in (0.0, 0.25, 1.0):
        emotion = Emotion(wav=speech()[::2], weight=weight)
        wanted = own + weight * (other - own)
        np.testing.assert_allclose(emotion_of(frontend, emotion), wanted, atol=1e-6)
    assert np.abs(other - own).max() > 1e-3


def test_emotions_are_mixed_by_their_shares(frontend: IndexTTS2Frontend, model_dir: Path) -> None:
    """Half of a share by the weight; what is left of one is the speaker's own."""
    vectors = load_file(model_dir / EMOTIONS_FILE)[VECTORS].numpy()
    calm = Emotion(vector=(0.0,) * 7 + (0.8,), weight=0.5)
    wanted = 0.4 * vectors[-1] + 0.6 * emotion_of(frontend)
    np.testing.assert_allclose(emotion_of(frontend, calm), wanted, atol=1e-6)
    np.testing.assert_array_equal(emotion_of(frontend), emotion_of(frontend, None))


def test_a_vector_has_a_value_for_each_emotion(frontend: IndexTTS2Frontend) -> None:
    with pytest.raises(InvalidRequest, match=r"emotion_vector: has 7 values; .* happy, angry, sad"):
        emotion_of(frontend, Emotion(vector=(0.1,) * 7))


def test_examples_of_another_count_are_refused(model_dir: Path) -> None:
    more = replace(CONFIG, emotions=(2, *CONFIG.emotions[1:]))
    with pytest.raises(ModelDirectoryError, match=r"has 9 styles and 9 vectors; .* counts 10"):
        IndexTTS2Frontend(model_dir, more)


def test_a_tokenizer_of_too_many_pieces_is_refused(model_dir: Path) -> None:
    small = replace(CONFIG, gpt=CONFIG.gpt.model_copy(update={"text_ids": 100}))
    with pytest.raises(ModelDirectoryError, match="128 pieces, and the language model knows 100"):
        IndexTTS2Frontend(model_dir, small)


def test_a_text_needs_the_emotion_model(frontend: IndexTTS2Frontend) -> None:
    with pytest.raises(InvalidRequest, match=r"^emotion_text: needs the emotion model, which this"):
        emotion_of(frontend, Emotion(text="So sad."))

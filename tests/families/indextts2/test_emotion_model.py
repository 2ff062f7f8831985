"""Emotions out of a text: a released Qwen3 to a graph, what it is asked, what its answer means."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from indextts2_emotion_model import (
    FOLDER,
    HEADS,
    SAD,
    about,
    emotion_model,
    random_weights,
)
from safetensors.torch import load_file, save_file

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.convert_emotion_model import EmotionModelConversion
from tritone.families.indextts2.emotion_model import EmotionModel
from tritone.families.indextts2.emotion_model_config import EmotionModelConfig
from tritone.families.indextts2.emotion_words import shares_of
from tritone.llm.checkpoint import EmbeddingTable
from tritone.llm.onnx.graph import build
from tritone.llm.onnx.qwen3_graph import Qwen3Graph
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.qwen3 import read_qwen3

ASKED = "<|im_start|>system\n文本情感分类<|im_end|>\n<|im_start|>user\n"
ANSWERED = "<|im_end|>\n<|im_start|>assistant\n"


def converted(released: Path) -> EmotionModelConfig:
    (released / "config.yaml").write_text("{}\n")
    (step,) = EmotionModelConversion(released, released / "model").steps()
    return EmotionModelConfig.model_validate(step.run())


def opened(released: Path) -> EmotionModel:
    (released / "model").mkdir()
    return EmotionModel(released / "model" / "emotion_model", converted(released))


@pytest.mark.parametrize(
    ("answer", "text", "shares"),
    [
        ('{"高兴": 0.5, "惊讶": 1}', "", {"happy": 0.5, "surprised": 1}),
        ('{"高兴": 9, "愤怒": -1, "自然": NaN}', "", {"happy": 1.2}),
        ('{"高兴": "0.5", "愤怒": [1], "悲伤": null}', "", {"happy": 0.5}),
        ('{"悲伤": 0.7, "低落": 0.1}', "a sad day", {"sad": 0.7, "melancholic": 0.1}),
        ('{"悲伤": 0.7, "低落": 0.1}', "A Gloomy day", {"sad": 0.1, "melancholic": 0.7}),
        ('{"悲伤": 0.7}', "情绪低落", {"melancholic": 0.7}),
        ('高兴: 0.5, "惊讶"：0.25', "", {"happy": 0.5, "surprised": 0.25}),
        ("{'恐惧': 0.5, '反感': .", "", {"afraid": 0.5}),
        ('{"emotion": "愤怒"}', "", {"angry": 1}),
        ('{"情绪": "Sad", "score": 0.3}', "", {"sad": 1}),
        ('{"emotion": "愤怒", "高兴": 0.5}', "", {"happy": 0.5}),
        ('{"emotion": "hungry"}', "", {"calm": 1}),
        ('{"高兴": 0}', "", {"calm": 1}),
        ("[1, 2]", "", {"calm": 1}),
        ("[" * 5000, "", {"calm": 1}),
        ("", "", {"calm": 1}),
    ],
)
def test_what_an_answer_means(answer: str, text: str, shares: dict[str, float]) -> None:
    emotions = ["happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm"]
    assert shares_of(answer, text) == tuple(shares.get(name, 0) for name in emotions)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_graph_says_what_hugging_face_s_model_says(tmp_path: Path, precision: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96}
    content = {**about(2), **sizes, **HEADS, "max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps(content))
    weights = random_weights(2, 300, 64, 96)
    save_file(weights, tmp_path / "model.safetensors")
    config = read_qwen3(tmp_path)
    reference = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**content)).float().eval()
    reference.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    ids = np.random.default_rng(0).integers(0, 300, 24).astype(np.int32)
    with torch.inference_mode():
        wanted = reference(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].numpy()
    build(Qwen3Graph, tmp_path, config, precision)
    slots = OnnxSlots(tmp_path, config, precision=precision, slots=1, slot_length=64)
    embed = EmbeddingTable(Checkpoint(tmp_path / "model.safetensors"))
    said = [slots.prefill(0, embed(ids[:9]))]
    for at in range(9, 24):
        said.append(slots.decode(embed(ids[at : at + 1]), np.array([at], np.int32))[0].copy())
    error = np.abs(np.stack(said) - wanted[8:]).max() / np.abs(wanted).max()
    assert error < {"fp32": 1e-5, "int8": 0.1}[precision], error


def test_a_released_model_is_asked_as_its_template_says(tmp_path: Path) -> None:
    emotion_model(tmp_path)
    model = opened(tmp_path)
    prompt = model._tokenizer.decode(model._prompt("It rains.\n").tolist())
    assert prompt == f"{ASKED}It rains.\n{ANSWERED}"
    injected = model._prompt("<|im_end|>").tolist()
    assert injected.count(model._tokenizer.control_id("<|im_end|>")) == 2
    assert model.answer("It rains.") == "".join(SAD)
    assert model.shares("It rains.") == (0, 0, 0.5, 0, 0, 0.25, 0, 0)
    assert model.shares("So gloomy.") == (0, 0, 0.25, 0, 0, 0.5, 0, 0)


def test_numbers_that_a_newer_transformers_wrote_are_read(tmp_path: Path) -> None:
    content = {**about(1), "vocab_size": 9, "hidden_size": 9, "intermediate_size": 9, **HEADS}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    older = read_qwen3(tmp_path)
    rope = {"rope_theta": content.pop("rope_theta"), "rope_type": "default"}
    del content["rope_scaling"]
    path.write_text(json.dumps({**content, "rope_parameters": rope}))
    assert read_qwen3(tmp_path) == older


def test_without_a_template_it_is_asked_as_qwen3_is(tmp_path: Path) -> None:
    (emotion_model(tmp_path) / "chat_template.jinja").unlink()
    (tmp_path / "model").mkdir()
    config = converted(tmp_path)
    assert config.opening == ASKED
    assert config.closing == f"{ANSWERED}<think>\n\n</think>\n\n"


def test_thoughts_are_no_part_of_an_answer(tmp_path: Path) -> None:
    emotion_model(tmp_path, ("<think>", '{"高兴": 1}', "</think>", '{"愤怒": 1}'))
    assert opened(tmp_path).answer("What?") == '{"愤怒": 1}'


def test_an_answer_without_an_end_is_cut_off(tmp_path: Path) -> None:
    """A model that repeats itself must not speak for ever."""
    folder = emotion_model(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"].zero_()
    save_file(weights, folder / "model.safetensors")
    model = opened(tmp_path)
    assert model.answer("What?") == "" and model.shares("What?")[-1] == 1  # new lines alone


def test_what_ends_the_user_s_words_ends_an_answer_too(tmp_path: Path) -> None:
    folder = emotion_model(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": 0}')
    assert opened(tmp_path).answer("What?") == "".join(SAD)


def test_what_it_lacks_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    emotion_model(tmp_path)
    (tmp_path / "model").mkdir()
    config, folder = converted(tmp_path), tmp_path / "model" / "emotion_model"
    with pytest.raises(ModelDirectoryError, match=r"tokenizer\.json lacks <\|begin\|>"):
        EmotionModel(folder, config.model_copy(update={"opening": "<|begin|>"}))
    (folder / "onnx" / "int8.onnx").unlink()
    with pytest.raises(ModelDirectoryError, match=r"int8\.onnx does not exist; run tritone conv"):
        EmotionModel(folder, config)


def test_a_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    emotion_model(tmp_path)
    with pytest.raises(InvalidRequest, match=r"^emotion_text: has 2\d\d\d tokens .* is 1792"):
        opened(tmp_path).shares("x" * 2000)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", {"model_type": "qwen2"}, "model_type is 'qwen2', only 'qwen3'"),
        ("config.json", {"head_dim": 20}, "head_dim: Input should be a multiple of 16"),
        ("config.json", {"hidden_size": 64}, r"embed_tokens.weight has shape \(\d+, \d+\); conf"),
        ("config.json", {"num_hidden_layers": 2}, r"layers\.1\.\S+ is missing"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn', only"),
        ("config.json", {"rope_theta": None}, "rope_theta: Field required"),
        ("config.json", {"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ("generation_config.json", {"do_sample": True}, "do_sample is true"),
        ("generation_config.json", {"eos_token_id": "end"}, "eos_token_id is 'end'"),
        ("chat_template.jinja", "{{ messages", "cannot be used as a template"),
        ("chat_template.jinja", "{{ ''.__class__.__mro__[1] }}", "cannot be used as a template"),
        ("chat_template.jinja", "Hello.", "does not say the user's words once"),
        ("chat_template.jinja", "{{ cycler() }}", "cannot be used as a template"),
        ("chat_template.jinja", f"{{{{ {'(' * 5000}", "cannot be used as a template"),
        ("chat_template.jinja", b"\xff", r"chat_template\.jinja: is not UTF-8"),
        ("tokenizer_config.json", {"chat_template": "Hi."}, r"config\.json: does not say"),
        ("tokenizer_config.json", {"chat_template": "{{"}, r"config\.json: cannot be used as"),
        ("tokenizer_config.json", {"chat_template": [{"name": "default"}]}, "one template, a str"),
        ("tokenizer.json", {"added_tokens": None}, r"tokenizer\.json: added_tokens is None"),
        ("tokenizer.json", {"added_tokens": [{"content": "<|x|>"}]}, r"added_tokens is \[{'conte"),
    ],
)
def test_another_model_is_refused_by_what_is_other(
    tmp_path: Path, name: str, content: object, said: str
) -> None:
    path = emotion_model(tmp_path) / name
    if name == "tokenizer_config.json":  # read where there is no other
        (path.parent / "chat_template.jinja").unlink()
    if isinstance(content, dict):
        before = json.loads(path.read_text()) if path.is_file() else {}
        content = json.dumps({**before, **content})
    path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelDirectoryError, match=said):
        converted(tmp_path)


def test_a_release_without_it_has_no_such_step_and_half_of_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{}\n")
    assert EmotionModelConversion(tmp_path, tmp_path / "model").steps() == []
    (emotion_model(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(ModelDirectoryError, match=rf"{FOLDER}/tokenizer\.json does not exist"):
        EmotionModelConversion(tmp_path, tmp_path / "model").steps()

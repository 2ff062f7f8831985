"""A tiny release before the flow to a model directory, whose networks give the golden numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from indextts2_front import golden
from indextts2_front_release import LAYERS, numbers, tiny_release
from safetensors import safe_open
from torch import Tensor

from tritone.acoustic.weights import load_network
from tritone.checkpoints.conversion import run_steps
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.convert_front import FrontConversion
from tritone.families.indextts2.frontend import PROMPTER_FILE, TOKENIZER_FILE
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_conditioning import Conditioning
from tritone.families.indextts2.gpt_config import GptConfig
from tritone.families.indextts2.gpt_generation import latents
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.gpt_runtime import DECODER_FILE
from tritone.families.indextts2.reference_config import (
    CodecConfig,
    SpeakerEncoderConfig,
    W2vBertConfig,
)
from tritone.families.indextts2.text_glossary import GLOSSARY_NAME, read_glossary
from tritone.families.indextts2.text_tokenizer import PieceTokenizer
from tritone.families.indextts2.voice_reader import (
    CODEC_FILE,
    CONDITIONING_FILE,
    SPEAKER_FILE,
    W2V_BERT_FILE,
)
from tritone.families.indextts2.w2v_bert import W2vBert

Results = dict[str, dict[str, Any]]


def convert(released: Path, target: Path) -> Results:
    target.mkdir(exist_ok=True)
    return run_steps(FrontConversion(released, target).steps(), target)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    folder = tmp_path_factory.mktemp("indextts2")
    return folder / "model", convert(tiny_release(folder / "release"), folder / "model")


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@torch.inference_mode()
def test_the_decoder_and_its_prompts(converted: tuple[Path, Results]) -> None:
    (folder, results), case = converted, golden("gpt")
    config = GptConfig(**results["language model"])
    gpt = load_network(lambda: Gpt(config), folder / DECODER_FILE)
    prompter = load_network(lambda: Prompter(config), folder / PROMPTER_FILE)
    prompt = prompter(case["conds"], case["text_ids"][0].tolist())
    close(prompt, case["prefix_embeds"])
    close(latents(gpt, prompt, case["tf_codes"][0])[None], case["latents"])


@torch.inference_mode()
def test_what_reads_references(converted: tuple[Path, Results]) -> None:
    folder, results = converted
    config = GptConfig(**results["language model"])
    conditioning = load_network(lambda: Conditioning(config), folder / CONDITIONING_FILE)
    bert_config = W2vBertConfig(**results["speech features"])
    bert = load_network(lambda: W2vBert(bert_config), folder / W2V_BERT_FILE)
    assert len(bert.layers) == LAYERS - 1
    features = bert(golden("w2v_bert")["x"], torch.ones(1, 23, dtype=torch.bool))
    assert conditioning.speaker(features).shape == (1, config.speaker.latents, config.width)
    codec_config = CodecConfig(**results["semantic codec"])
    codec = load_network(lambda: SemanticCodec(codec_config), folder / CODEC_FILE)
    case = golden("semantic_codec")
    assert torch.equal(codec.codes(case["x"]), case["indices"])
    speaker_config = SpeakerEncoderConfig(**results["speaker encoder"])
    speaker = load_network(lambda: CamPlusPlus(speaker_config), folder / SPEAKER_FILE)
    case = golden("campplus")
    close(speaker(case["x0"]), case["style0"])


def test_layers_that_are_not_read_are_not_written(converted: tuple[Path, Results]) -> None:
    with safe_open(converted[0] / W2V_BERT_FILE, framework="pt") as file:
        layers = {key.split(".")[1] for key in file.keys() if key.startswith("layers.")}  # noqa: SIM118
    assert len(layers) == LAYERS - 1


def test_what_texts_need(converted: tuple[Path, Results]) -> None:
    folder, _ = converted
    assert PieceTokenizer(folder / TOKENIZER_FILE).size == 128
    assert read_glossary(folder / GLOSSARY_NAME)("c++", "zh") == "C 加加"


def edit_yaml(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = numbers()
        content["gpt"] |= changes
        (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    return edit


def edit_bert(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "hf_cache" / "w2v-bert-2.0" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")

    return edit


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def saved(name: str, content: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(content, folder / name)


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (without("gpt.pth"), "gpt.pth does not exist"),
        (without("hf_cache/campplus_cn_common.bin"), "campplus_cn_common.bin does not exist"),
        (written("gpt.pth", b"PK"), "gpt.pth cannot be read"),
        (saved("gpt.pth", {"model": 3}), "gpt.pth is not a plain state dict"),
        (saved("gpt.pth", {}), "gpt.pth has no matrix mel_pos_embedding.emb.weight"),
        (saved("hf_cache/campplus_cn_common.bin", {}), "has no matrix xvector.tdnn.linear"),
        (saved("wav2vec2bert_stats.pt", {"mean": torch.zeros(24)}), "lacks var"),
        (written("bpe.model", b"\xff\xff"), "bpe.model: is no SentencePiece model"),
        (written("glossary.yaml", b"a: [1]"), "glossary.json: 'a' has"),
        (edit_yaml(start_mel_token=3), "gpt.start_mel_token is 3; only 50 works"),
        (edit_yaml(condition_type="gst"), "gpt.condition_type is 'gst'"),
        (edit_yaml(layers=3), r"gpt.safetensors lacks blocks.2"),
        (edit_yaml(heads=5), "5 heads of a width of 48"),
        (edit_yaml(model_dim="wide"), "gpt.model_dim is 'wide' where a whole number belongs"),
        (edit_bert(num_hidden_layers=16), "num_hidden_layers is 16, below 17"),
        (edit_bert(hidden_act="gelu"), "hidden_act is 'gelu'; only 'swish' works"),
        (edit_bert(conv_depthwise_kernel_size=None), "kernel: Input should be a valid integer"),
        (written("hf_cache/semantic_codec_model.safetensors", b"x"), "is not a safetensors file"),
    ],
)
def test_what_is_wrong_with_a_release_is_said(
    tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    released = tiny_release(tmp_path / "release")
    damage(released)
    with pytest.raises(ModelDirectoryError) as refused:
        convert(released, tmp_path / "model")
    assert problem in str(refused.value)

"""CosyVoice3 checkpoints that are not whole, or mixed with CosyVoice2's: each file is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conversions import QUICK, convert
from cosyvoice3_release import cosyvoice3_release
from released_checkpoint import change_state, released_checkpoint

from tritone.errors import ModelDirectoryError
from tritone.families import family_named, open_model
from tritone.families.cosyvoice2 import released_tokenizer as cosyvoice2
from tritone.families.cosyvoice2.self_check import self_check
from tritone.families.cosyvoice3.released_tokenizer import build_base_tokenizer

pytestmark = pytest.mark.slow

ADVICE = {
    "cosyvoice2": "download the checkpoint again (modelscope: iic/CosyVoice2-0.5B;",
    "cosyvoice3": "download the checkpoint again (ModelScope and Hugging Face: FunAudioLLM/Fun-",
}
WRITE = {"cosyvoice2": released_checkpoint, "cosyvoice3": cosyvoice3_release}
OTHER = {"cosyvoice2": "cosyvoice3", "cosyvoice3": "cosyvoice2"}
TOKENIZER = {
    "cosyvoice2": "speech_tokenizer_v2.onnx",
    "cosyvoice3": "speech_tokenizer_v3.onnx",
}
EITHER = pytest.mark.parametrize("family", sorted(WRITE))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name) / "tiny") for name, write in WRITE.items()}


@pytest.fixture(scope="module")
def finished(
    releases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    return {
        name: convert(release, tmp_path_factory.mktemp(f"{name}-model"))
        for name, release in releases.items()
    }


@pytest.fixture
def source(releases: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(releases["cosyvoice3"], tmp_path / "source")


def problem(source: Path, family: str = "cosyvoice3", finished: Path | None = None) -> str:
    """The error of a conversion; what did not change is taken from a finished one."""
    target = source.parent / "target"
    if finished:
        shutil.copytree(finished, target)
        (target / "config.json").unlink()
    with pytest.raises(ModelDirectoryError) as raised:
        list(family_named(family).convert(source, target, QUICK))
    assert not (target / "config.json").exists()
    assert ADVICE[family] in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "cosyvoice3.yaml",
        *("flow.pt", "hift.pt", "llm.pt"),
        *(f"CosyVoice-BlankEN/{name}" for name in ("config.json", "vocab.json", "merges.txt")),
    ],
)
def test_a_missing_file(source: Path, name: str) -> None:
    (source / name).unlink()
    assert f"{Path(name).name} is missing" in problem(source)


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("flow.pt", "pre_lookahead_layer__conv1__bias", None, "lacks lookahead.ahead.bias [24]"),
        ("flow.pt", "decoder__estimator__proj_out__bias", torch.zeros(3),
         "final_projection.bias [3] where the configuration wants [80]"),
        ("flow.pt", "encoder__embed__weight", torch.zeros(2), "has the unknown encoder.embed"),
        ("hift.pt", "conv_pre__bias", torch.zeros(3), "has conv_pre.bias [3]"),
        ("hift.pt", "ups__1__bias", None, "lacks stages.1.up.bias [8]"),
        ("llm.pt", "speech_embedding__weight", torch.zeros(6761, 8),
         "speech_embedding.weight has shape (6761, 8), expected (6761, 32)"),
    ],
)  # fmt: skip
def test_a_tensor_that_does_not_fit(
    source: Path, finished: dict[str, Path], name: str, key: str, value: object, said: str
) -> None:
    change_state(source / name, **{key: value})
    message = problem(source, finished=finished["cosyvoice3"])
    assert name in message and said in message


@EITHER
def test_a_release_under_the_other_s_yaml(
    releases: dict[str, Path], tmp_path: Path, family: str
) -> None:
    source = shutil.copytree(releases[OTHER[family]], tmp_path / "source")
    shutil.copy(releases[family] / f"{family}.yaml", source)
    names = f"{TOKENIZER[OTHER[family]]} in the place of {TOKENIZER[family]}: "
    assert names in problem(source, family)
    (source / TOKENIZER[OTHER[family]]).unlink()
    message = problem(source, family)
    assert "llm.pt: " in message and "llm_decoder.bias" in message


@pytest.mark.parametrize(
    ("family", "name", "said"),
    [
        ("cosyvoice2", "llm.pt", "llm_embedding.weight is missing"),
        ("cosyvoice2", "flow.pt", "flow.pt lacks encoder.up_encoders"),
        ("cosyvoice2", "hift.pt", "conv_pre.weight [32, 80, 5] where the configuration wants [32"),
        ("cosyvoice3", "llm.pt", "llm_embedding.weight (2, 32) is unexpected"),
        ("cosyvoice3", "flow.pt", "lacks lookahead.ahead.weight [24, 320]"),
        ("cosyvoice3", "hift.pt", "conv_pre.weight [32, 80, 7] where the configuration wants [32"),
    ],
)
def test_a_file_of_the_other_generation(
    releases: dict[str, Path],
    finished: dict[str, Path],
    tmp_path: Path,
    family: str,
    name: str,
    said: str,
) -> None:
    source = shutil.copytree(releases[family], tmp_path / "source")
    shutil.copy(releases[OTHER[family]] / name, source)
    message = problem(source, family, finished[family])
    assert name in message and said in message


@pytest.mark.parametrize("name", ["speech_tokenizer_v2.onnx", "speech_tokenizer_v3.batch.onnx"])
def test_another_speech_tokenizer_is_not_passed_over(source: Path, name: str) -> None:
    """Beside the right one it does no harm; in its place no voice could be cloned."""
    shutil.copy(source / TOKENIZER["cosyvoice3"], source / name)
    convert(source, source.parent / "beside")
    (source / TOKENIZER["cosyvoice3"]).unlink()
    assert f"{name} in the place of speech_tokenizer_v3.onnx: " in problem(source)


def of_cosyvoice2(base: Path) -> None:
    cosyvoice2.build_base_tokenizer(base).save(str(base / "tokenizer.json"))


def without_the_end_of_prompt(base: Path) -> None:
    content = json.loads(build_base_tokenizer(base).to_str())
    kept = [t for t in content["added_tokens"] if t["content"] != "<|endofprompt|>"]
    (base / "tokenizer.json").write_text(json.dumps({**content, "added_tokens": kept}))


@pytest.mark.parametrize(
    ("write", "lacking"),
    [
        (of_cosyvoice2, "lacks 261 of the 278 tokens that CosyVoice3 adds, <|endofsystem|> first"),
        (without_the_end_of_prompt, "lacks 1 of the 278 tokens that CosyVoice3 adds, <|endofprom"),
    ],
)
def test_a_tokenizer_that_lacks_what_prompts_need(
    source: Path, write: Callable[[Path], None], lacking: str
) -> None:
    write(source / "CosyVoice-BlankEN")
    message = problem(source)
    assert "CosyVoice-BlankEN" in message and lacking in message
    assert not (source.parent / "target" / "llm").exists(), "said before the long steps"


@EITHER
def test_a_model_directory_under_the_other_s_name(
    finished: dict[str, Path], tmp_path: Path, family: str
) -> None:
    folder, other = tmp_path / "model", OTHER[family]
    folder.mkdir()
    content = json.loads((finished[family] / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "family": other}))
    with pytest.raises(ModelDirectoryError) as refused:
        open_model(folder)
    assert f"config.json: family is {other!r}, but the section is that of {family!r}" in str(
        refused.value
    )
    assert f"set family to {family!r}, or convert the release again" in str(refused.value)
    content[other] = content.pop(family)
    (folder / "config.json").write_text(json.dumps({**content, "family": other}))
    with pytest.raises(ModelDirectoryError, match=r"flow\.estimator\.dim: (Field req|Extra inp)"):
        open_model(folder)


@EITHER
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flow.safetensors", "flow.safetensors lacks "),
        ("vocoder.safetensors", "vocoder.safetensors has .*conv_pre.weight"),
        ("llm/model.safetensors", "lm_head.bias does not ban exactly the text"),
        ("tokenizer.json", "tokenizer.json has .* ids, but in config.json speech starts at"),
    ],
)
def test_a_model_directory_with_a_file_of_the_other(
    finished: dict[str, Path], tmp_path: Path, family: str, name: str, said: str
) -> None:
    folder = shutil.copytree(finished[family], tmp_path / "model")
    shutil.copy(finished[OTHER[family]] / name, folder / name)
    with pytest.raises(ModelDirectoryError, match=said):
        list(self_check(folder, family_named(family), ()))

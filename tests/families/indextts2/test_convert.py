"""A tiny release to a model directory: what comes out, once, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from conversions import changed, times
from indextts2_front import golden
from indextts2_whole_release import CODES, LICENCE, whole_release
from parity.indextts2_acoustic import released
from safetensors.torch import load_file

from tritone import cli
from tritone.checkpoints.conversion import ConvertOptions
from tritone.errors import ModelDirectoryError
from tritone.families import open_model
from tritone.families.indextts2 import FAMILY
from tritone.families.indextts2.convert import Conversion
from tritone.families.indextts2.self_check import self_check

LICENCES = ("bilibili-model-use", "CC-BY-NC-4.0")
WRITTEN = {
    *("config.json", "tokenizer.model", "glossary.json", "LICENCES.txt", f"licences/{LICENCE}"),
    *("gpt.safetensors", "prompter.safetensors", "conditioning.safetensors"),
    *("llm/onnx/int8.onnx", "llm/onnx/int8.onnx.data"),
    *("w2v_bert.safetensors", "semantic_codec.safetensors", "speaker_encoder.safetensors"),
    *("flow.safetensors", "vocoder.safetensors", "emotions.safetensors", ".conversion.json"),
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_release(tmp_path_factory.mktemp("released") / "IndexTTS-2")


@pytest.fixture(scope="module")
def converted(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(release, tmp_path_factory.mktemp("converted") / "model")


@pytest.fixture
def copies(release: Path, converted: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A release and its finished model directory, free to be changed."""
    source, target = tmp_path / "source", tmp_path / "target"
    return shutil.copytree(release, source), shutil.copytree(converted, target)


def convert(source: Path, target: Path, options: ConvertOptions | None = None) -> Path:
    """Without the self-check."""
    Conversion(source, target, options or ConvertOptions()).run()
    return target


def test_the_model_directory_is_whole(converted: Path) -> None:
    config = open_model(converted).config
    assert (config.family, config.sample_rate, config.default_voice) == ("indextts2", 22050, None)
    assert config.gpt.codes == config.flow.codes == config.reference.codec.codes == CODES
    assert config.drawing.beams == 1 and config.flow.solver.n_timesteps == 25
    assert config.vocoder.samples_per_frame == 256
    found = {str(p.relative_to(converted)) for p in converted.rglob("*") if p.is_file()}
    assert found == WRITTEN


def test_self_check_says_what_holds(converted: Path) -> None:
    lines = list(self_check(converted, FAMILY, ("int8",)))
    starts = ["config.json", "cloning", "gpt.safetensors", "flow", "voices", "LICENCES.txt"]
    assert [line.split(":")[0] for line in lines] == starts
    assert "1 s of audio gave 49 codes, 86 mel frames and 8 vectors" in lines[1]
    assert "25 codes with their latents" in lines[2]
    assert "25 codes gave 43 mel frames and 0.50 s of finite audio" in lines[3]


def test_the_acoustic_weights_are_those_of_the_release(converted: Path) -> None:
    """A tensor of each part; that all have their places is in test_acoustic_release."""
    flow, vocoder = (load_file(converted / f"{name}.safetensors") for name in ("flow", "vocoder"))
    estimator, regulator = released(golden("dit_cfm")), released(golden("length_regulator"))
    wide = estimator["estimator.transformer.layers.3.attention.wqkv.weight"]
    assert torch.equal(flow["estimator.blocks.3.query_key_value.weight"], wide)
    assert torch.equal(flow["regulator.layers.1.norm.weight"], regulator["model.4.weight"])
    assert torch.equal(flow["features.latent.1.weight"], regulator["gpt_layer.1.weight"])
    snake = released(golden("bigvgan"))["activation_post.act.alpha"].exp()
    assert torch.equal(vocoder["snake.frequency"], snake)
    codec = load_file(converted / "semantic_codec.safetensors")
    rows = codec["code_book.rows"] @ codec["code_book.expand.weight"].mT
    table = rows + codec["code_book.expand.bias"]
    torch.testing.assert_close(flow["features.codebook.weight"], table)


def test_a_finished_conversion_is_not_done_again(copies: tuple[Path, Path]) -> None:
    source, target = copies
    before = times(target)
    convert(source, target)
    assert changed(before, target) == {"LICENCES.txt", f"licences/{LICENCE}"}
    (source / "s2mel.pth").touch()
    convert(source, target)
    assert "flow.safetensors" in changed(before, target)
    assert "gpt.safetensors" not in changed(before, target)


def test_stored_precision_can_be_chosen(copies: tuple[Path, Path]) -> None:
    source, target = copies
    convert(source, target, ConvertOptions(dtype="bf16"))
    kinds = {value.dtype for value in load_file(target / "gpt.safetensors").values()}
    assert kinds == {torch.bfloat16}


def edit(**changes: object) -> Callable[[Path], None]:
    """Numbers of config.yaml."""

    def change(folder: Path) -> None:
        path = folder / "config.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            *outer, last = name.split("__")
            part = content
            for key in outer:
                part = part[key]
            part[last] = value
        path.write_text(yaml.safe_dump(content), encoding="utf-8")

    return change


def saved(name: str, content: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(content, folder / name)


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            without("s2mel.pth", "hf_cache/bigvgan/config.json"),
            [
                "s2mel.pth is missing",
                "config.json is missing",
                "tritone doctor --release indextts2=",
            ],
        ),
        (saved("s2mel.pth", {"net": 3}), ["s2mel.pth has no layers in the part gpt_layer"]),
        (saved("s2mel.pth", {"net": {"cfm": {"a": 1}}}), ["cfm is not a plain state dict"]),
        (edit(s2mel__DiT__is_causal=True), ["s2mel.DiT.is_causal is True; only False works"]),
        (edit(s2mel__DiT__num_heads=3), ["width is 32; 3 heads of pairs"]),
        (saved("hf_cache/bigvgan/bigvgan_generator.pt", {"generator": {}}), ["lacks "]),
    ],
)
def test_what_is_wrong_with_a_release_is_said(
    copies: tuple[Path, Path], damage: Callable[[Path], None], problems: list[str]
) -> None:
    source, target = copies
    damage(source)
    with pytest.raises(ModelDirectoryError) as refused:
        convert(source, target)
    assert all(problem in str(refused.value) for problem in problems), refused.value


def test_parts_that_do_not_belong_together_are_refused(copies: tuple[Path, Path]) -> None:
    source, target = copies
    net = torch.load(source / "s2mel.pth", weights_only=True)
    weight = net["net"]["gpt_layer"]["0.weight"]
    net["net"]["gpt_layer"]["0.weight"] = weight[:, 1:].clone()
    torch.save(net, source / "s2mel.pth")
    with pytest.raises(ModelDirectoryError, match=r"flow\.latent_width and gpt\.width are 47 and"):
        convert(source, target)


def test_another_language_model_is_refused(release: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match="merged_llm is elsewhere: IndexTTS2's language"):
        convert(release, tmp_path / "model", ConvertOptions(merged_llm=Path("elsewhere")))


def test_the_language_model_has_the_precisions_that_are_asked_for(
    release: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    assert "(" not in said_of_decoder(release, model, ())
    assert not (model / "llm").exists()
    assert "(int8, fp32)" in said_of_decoder(release, model, ("int8", "fp32"))
    assert {path.stem for path in model.glob("llm/onnx/*.onnx")} == {"int8", "fp32"}


def said_of_decoder(release: Path, model: Path, graphs: tuple[str, ...]) -> str:
    said = FAMILY.convert(release, model, ConvertOptions(graphs=graphs))
    (line,) = (line for line in said if line.startswith("gpt.safetensors"))
    return line


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ((), "CC-BY-NC-4.0 (amphion/MaskGCT): no commercial use"),
        (LICENCES[:1], ": --accept-licence CC-BY-NC-4.0\n"),
        (("MIT",), "'MIT' has not to be accepted; there is bilibili-model-use, CC-BY-NC-4.0"),
    ],
)
def test_licences_are_accepted_before_any_work(
    release: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    accepted: tuple[str, ...],
    said: str,
) -> None:
    options = [word for name in accepted for word in ("--accept-licence", name)]
    assert cli.main(["convert", str(release), str(tmp_path / "model"), *options]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_page_of_licences_goes_with_the_model(converted: Path) -> None:
    page = (converted / "LICENCES.txt").read_text(encoding="utf-8")
    assert f"came with the release: licences/{LICENCE}" in page
    for name in (*LICENCES, "Apache-2.0", "MIT"):
        assert name in page
    assert (converted / "licences" / LICENCE).read_text() == "The agreement."

"""Checkpoints that are not whole: each error names the file and says what to do; nothing is run."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from released_checkpoint import change_state, released_checkpoint

from tritone.checkpoints.conversion import ConvertOptions
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.convert import Conversion
from tritone.families.cosyvoice2.released_files import open_source
from tritone.families.cosyvoice2.released_model import flow_config, vocoder_config

pytestmark = pytest.mark.slow

ADVICE = "download the checkpoint again"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"
REQUIRED = (
    "cosyvoice2.yaml",
    "flow.pt",
    "hift.pt",
    "llm.pt",
    "CosyVoice-BlankEN/config.json",
    "CosyVoice-BlankEN/vocab.json",
    "CosyVoice-BlankEN/merges.txt",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return released_checkpoint(tmp_path_factory.mktemp("released") / "CosyVoice2-tiny")


@pytest.fixture(scope="module")
def finished(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("finished")
    Conversion(open_source(whole), target, ConvertOptions(graphs=())).run()
    return target


@pytest.fixture
def source(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "source")


def problem(source: Path, finished: Path | None = None) -> str:
    """The error of a conversion; what did not change is taken from a finished one."""
    target = source.parent / "target"
    if finished:
        shutil.copytree(finished, target)
        (target / "config.json").unlink()
    with pytest.raises(ModelDirectoryError) as raised:
        Conversion(open_source(source), target, ConvertOptions(graphs=())).run()
    assert not (target / "config.json").exists()
    return str(raised.value)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_file(source: Path, name: str) -> None:
    (source / name).unlink()
    message = problem(source)
    assert f"{Path(name).name} is missing: {ADVICE}" in message


@pytest.mark.parametrize("name", [*REQUIRED, "campplus.onnx", "spk2info.pt"])
def test_an_empty_file(source: Path, name: str) -> None:
    (source / name).write_bytes(b"")
    assert f"{Path(name).name} is empty: {ADVICE}" in problem(source)


@pytest.mark.parametrize("name", ["flow.pt", "campplus.onnx", "CosyVoice-BlankEN/config.json"])
def test_a_pointer_of_git_lfs(source: Path, name: str) -> None:
    (source / name).write_bytes(LFS)
    message = problem(source)
    assert f"{Path(name).name} is a Git LFS pointer of {len(LFS)} bytes" in message
    assert "git lfs pull" in message


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt", "llm.pt", "spk2info.pt"])
@pytest.mark.parametrize("kept", [0.001, 0.5, 0.999])
def test_a_file_that_was_cut_off(source: Path, name: str, kept: float) -> None:
    data = (source / name).read_bytes()
    (source / name).write_bytes(data[: int(kept * len(data))])
    message = problem(source)
    assert f"{name} ({int(kept * len(data))} bytes) is cut off or no torch file" in message
    assert ADVICE in message


def test_a_merged_model_that_was_cut_off(tmp_path: Path) -> None:
    source = released_checkpoint(tmp_path / "source", merged=True)
    file = source / "cosyvoice2_llm" / "model.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-100])
    message = problem(source)
    assert f"model.safetensors ({size - 100} bytes) is cut off; it should have {size} b" in message
    file.write_bytes(b"\xff" * 1000)
    assert "model.safetensors (1000 bytes) has a damaged header" in problem(source)


@pytest.mark.parametrize("suffix", [".incomplete", ".part", ".crdownload"])
def test_an_unfinished_download(source: Path, suffix: str) -> None:
    (source / "flow.pt").rename(source / f"flow.pt{suffix}")
    message = problem(source)
    assert f"flow.pt is missing (only flow.pt{suffix}, an unfinished download): {ADVICE}" in message


def test_everything_that_is_wrong_is_said_at_once(source: Path) -> None:
    (source / "flow.pt").unlink()
    (source / "hift.pt").write_bytes(b"")
    (source / "llm.pt").write_bytes(LFS)
    message = problem(source)
    assert all(name in message for name in ("flow.pt", "hift.pt", "llm.pt"))


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=f"nowhere is not a directory; {ADVICE}"):
        open_source(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("flow.pt", "encoder_proj__bias", None, "lacks mel_projection.bias"),
        ("flow.pt", "surplus", torch.zeros(2), "has the unknown surplus"),
        ("flow.pt", "encoder_proj__bias", torch.zeros(3), r"mel_projection.bias [3] where"),
        ("flow.pt", "decoder__estimator__mid_blocks__0__1__0__attn1__to_q__weight",
         torch.zeros(48, 5), "query_key_value"),
        ("hift.pt", "conv_post__bias", None, "lacks conv_post.bias"),
        ("hift.pt", "conv_pre__parametrizations__weight__original0", None,
         "weight norm of conv_pre.weight needs a magnitude of [32, 1, 1], has none"),
        ("hift.pt", "conv_pre__parametrizations__weight__original0", torch.ones(31, 1, 1),
         "weight norm of conv_pre.weight needs a magnitude of [32, 1, 1], has [31, 1, 1]"),
        ("hift.pt", "mpd__weight", torch.zeros(2), "has the unknown mpd.weight"),
        ("llm.pt", "llm_decoder__bias", torch.zeros(3), "llm_decoder.bias has shape (3,)"),
        ("llm.pt", "surplus", torch.zeros(3), "surplus (3,) is unexpected"),
        ("flow.pt", "encoder_proj__bias", "text", "is not a plain state dict of tensors"),
    ],
)  # fmt: skip
def test_a_tensor_that_does_not_fit(
    source: Path, finished: Path, name: str, key: str, value: object, said: str
) -> None:
    change_state(source / name, **{key: value})
    message = problem(source, finished)
    assert name in message and said in message and ADVICE in message


class Bomb:
    """Runs code when it is unpickled the ordinary way."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["flow.pt", "hift.pt", "llm.pt", "spk2info.pt"])
def test_code_in_a_pickle_is_never_run(
    source: Path, finished: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)
    torch.save({"weight": torch.zeros(2), "bomb": Bomb()}, source / name)
    message = problem(source, finished)
    assert name in message and ADVICE in message
    assert not (source / "exploded").exists()
    with (source / name).open("rb"):
        pickle.loads(pickle.dumps(Bomb()))  # the bomb does work
    assert (source / "exploded").exists()


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/b", ".hidden", ""])
def test_a_voice_of_the_released_file_is_never_a_path(
    source: Path, finished: Path, name: str
) -> None:
    voices = torch.load(source / "spk2info.pt", weights_only=True)
    torch.save({name: next(iter(voices.values()))}, source / "spk2info.pt")
    message = problem(source, finished)
    assert f"voice {name!r} has no name that can be an id" in message


@pytest.mark.parametrize("tag", ["!apply:os.system", "!new:subprocess.Popen", "!name:os.remove"])
def test_tags_of_the_yaml_are_dropped(source: Path, tag: str, tmp_path: Path) -> None:
    path, mark = source / "cosyvoice2.yaml", tmp_path / "exploded"
    path.write_text(f"bomb: {tag} ['touch {mark}']\n" + path.read_text())
    values = YamlValues(path)
    assert values.value("bomb") == [f"touch {mark}"]
    assert vocoder_config(values).samples_per_frame == 480
    assert not mark.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.remove"])
def test_python_objects_in_the_yaml_are_refused(source: Path, tag: str, tmp_path: Path) -> None:
    path, mark = source / "cosyvoice2.yaml", tmp_path / "exploded"
    path.write_text(f"bomb: {tag} ['touch {mark}']\n" + path.read_text())
    message = problem(source)
    assert "cosyvoice2.yaml is not readable YAML" in message and ADVICE in message
    assert not mark.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("chunk_size: 25", "chunk_size: many", "chunk_size is 'many' where a whole number belongs"),
        ("    vocab_size: 97\n", "", "lacks flow.vocab_size"),
        ("channels: [32]", "channels: [32, 64]", "the estimator has channels [32, 64]"),
        ("solver: 'euler'", "solver: 'heun'", "solver is 'heun'; only 'euler' works"),
        ("upsample_rates: [8, 5, 3]", "upsample_rates: 8", "where a list of whole numbers belongs"),
        ("spk_embed_dim: 24\n", "spk_embed_dim: !ref <spk_embed_dim>\n", "refers to itself"),
        ("sample_rate: 24000", "- a\n- b", "is not readable YAML"),
    ],
)
def test_numbers_that_make_no_sense(
    source: Path, finished: Path, old: str, new: str, said: str
) -> None:
    path = source / "cosyvoice2.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    message = problem(source, finished)
    assert "cosyvoice2.yaml" in message and said in message and ADVICE in message


def test_numbers_of_another_width_do_not_fit_the_weights(source: Path, finished: Path) -> None:
    path = source / "cosyvoice2.yaml"
    path.write_text(path.read_text().replace("vocab_size: 97", "vocab_size: 98"))
    message = problem(source, finished)
    assert "flow.pt has token_embedding.weight [97, 48] where the configuration wants" in message


def test_references_and_exponents_are_read(whole: Path) -> None:
    values = YamlValues(whole / "cosyvoice2.yaml")
    assert values.integer("flow", "spk_embed_dim") == 24  # !ref <spk_embed_dim>
    assert values.number("flow", "decoder", "cfm_params", "content", "sigma_min") == 1e-6
    keys = [f"encoder.up_encoders.{i}.norm_ff.bias" for i in range(4)]
    assert flow_config(values, keys).encoder.num_up_blocks == 4
    with pytest.raises(ModelDirectoryError, match=r"blocks \[0, 2\]"):
        flow_config(values, [keys[0], keys[2]])

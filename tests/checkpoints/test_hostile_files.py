"""Files that nobody means well with: an error that names the file, and no memory taken."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llm_model import build_tiny
from safetensors.numpy import save, save_file

from tritone.checkpoints.plain_yaml import YamlValues, shown
from tritone.checkpoints.release import read_record as read_download
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.checkpoints.torch_file import plain_tensors
from tritone.checkpoints.verify import damage
from tritone.config import read_content
from tritone.engines.export import ExportsRecord, read_exports
from tritone.engines.record import read_record
from tritone.errors import ModelDirectoryError
from tritone.llm.checkpoint import read_qwen2
from tritone.llm.onnx.graph import built_from
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.slots.opening import ensure_graph
from tritone.llm.trtllm.engine_folder import read_engine

DEEP = "[" * 100_000
NOT_TEXT = b'{"format": "\xff"}'
GOOD = {"a": np.ones(4, np.float32)}

READERS: dict[str, Callable[[Path], object]] = {
    "config.json": read_content,
    "engine.json": read_record,
    "download.json": read_download,
    "llm/config.json": lambda folder: read_qwen2(folder / "llm"),
    "engine/config.json": lambda folder: read_engine(folder / "engine"),
}


@pytest.mark.parametrize("content", [DEEP.encode(), NOT_TEXT, b"", b"[]"], ids=str)
@pytest.mark.parametrize("name", READERS)
def test_json_that_is_none_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ModelDirectoryError, match=path.name):
        READERS[name](tmp_path)


def test_exports_that_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "exports.json").write_bytes(NOT_TEXT)
    assert read_exports(tmp_path) == ExportsRecord()


def test_an_infinite_number_of_an_engine_is_named(tmp_path: Path) -> None:
    content = {"version": "1", "pretrained_config": {"vocab_size": float("inf")}, "build_config": 1}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ModelDirectoryError, match=r"config\.json is not the configuration"):
        read_engine(tmp_path)


def test_rotary_numbers_that_are_no_object_are_named(tmp_path: Path) -> None:
    content = {"model_type": "qwen2", "rope_scaling": "linear"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ModelDirectoryError, match="rope_scaling is 'linear', expected an object"):
        read_qwen2(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        *(b"null", b"[]", b"{}", b'{"a": null}', b'{"a": {"data_offsets": [0]}}', DEEP.encode()),
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, "16"]}}',
        b'{"a": {"dtype": "F32", "shape": [1152921504606846976], "data_offsets": [0, 16]}}',
    ],
    ids=lambda header: header[:40].decode(),
)
def test_a_damaged_header_is_named(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(ModelDirectoryError, match=r"a\.safetensors is "):
        Checkpoint(path)
    assert damage(path, "copy it again") or header.startswith((b"{}", b'{"a": {"dtype"'))


@pytest.mark.parametrize("length", [2**31, 2**60, 2**64 - 1])
def test_a_header_of_any_length_takes_no_memory(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + save(GOOD)[8:])
    with pytest.raises(ModelDirectoryError, match=r"a\.safetensors is (cut short|not a saf)"):
        Checkpoint(path)


def test_values_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    values = {"nan": np.nan, "infinite": np.inf, "ruled_out": -np.inf}
    save_file({name: np.array([0, v], np.float32) for name, v in values.items()}, path)
    checkpoint = Checkpoint(path)
    for name in ("nan", "infinite"):
        with pytest.raises(ModelDirectoryError, match=f"{name} has values that are NaN"):
            checkpoint.float32(name)
    assert checkpoint.float32("ruled_out")[1] == -np.inf


LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


def test_aliases_of_aliases_are_told_briefly(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(LAUGHS)
    values = YamlValues(path)
    with pytest.raises(ModelDirectoryError, match=r"l is \[\[.* where a whole number belongs"):
        values.integer("l")
    assert len(shown(values.value("l"))) < 2000


@pytest.mark.parametrize(
    "text",
    [MERGES, "[" * 100_000, "a: !!int ''", "a: !!timestamp x", "a: 2001-99-99", "a: !!bool x"],
    ids=lambda text: text[:20],
)
def test_yaml_that_no_loader_survives_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ModelDirectoryError, match=r"a\.yaml is not readable YAML"):
        YamlValues(path)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    for read in (YamlValues, plain_tensors):
        with pytest.raises(ModelDirectoryError, match=str(tmp_path)):
            read(tmp_path)
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelDirectoryError, match=r"config\.json"):
        read_content(tmp_path)


def test_a_damaged_graph_is_built_anew(tmp_path: Path) -> None:
    config = build_tiny(tmp_path, "fp32")
    path = graph_path(tmp_path / "llm", "fp32")
    was = built_from(path)
    path.write_bytes(b"\xff" * 100)
    ensure_graph(tmp_path, config, "fp32")
    assert built_from(path) == was
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelDirectoryError, match=r"fp32\.onnx is a directory"):
        ensure_graph(tmp_path, config, "fp32")

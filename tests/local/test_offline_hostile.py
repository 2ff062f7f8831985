"""Recordings of a manifest that are not what they say."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone.local.offline.manifest import read_manifest


def problem(folder: Path, prompt_wav: str) -> str:
    path = folder / "manifest"
    path.write_text(f"a||{prompt_wav}|Hello.")
    (found,) = read_manifest(path).problems
    return found.message


def test_many_channels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path, size = tmp_path / "a.wav", 200_000_000
    soundfile.write(path, np.zeros((8, 1000), np.int16), 8000, subtype="PCM_U8")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    os.truncate(path, at + 4 + size)  # a hole
    assert "a.wav says that it has 200000000 samples in 1000 channels" in problem(tmp_path, "a.wav")


@pytest.mark.parametrize("name", ["a.raw", "folder", "n" * 5000])
def test_what_is_no_sound_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(100))
    (tmp_path / "folder").mkdir()
    assert f"prompt_wav: {tmp_path / name}" in problem(tmp_path, name)

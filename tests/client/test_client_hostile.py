"""What a client is given and cannot send: an error that names the field or the line."""

from pathlib import Path

import pytest

from tritone_client import Utterance
from tritone_client.manifest import ManifestError, read_manifest
from tritone_client.request import infer_request


@pytest.mark.parametrize(
    ("utterance", "message"),
    [
        (Utterance("a\ud800"), "target_text: has half of a surrogate pair at 1"),
        (Utterance("a", voice="\udfff"), "voice: has half of a surrogate pair at 0"),
        (Utterance("a", top_p=10**400), "top_p: 1000.* does not fit FP32"),
        (Utterance("a", speed=1e39), "speed: 1e.39 does not fit FP32"),
        (Utterance("a", seed=-1), "seed: -1 does not fit UINT64"),
    ],
)
def test_what_does_not_fit_the_wire_is_named(utterance: Utterance, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer_request(utterance, "any")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a":' * 100_000, "line 1: is nested too deeply"),
        ('{"id": "a", "text": "b", "prompt_wav": "' + "c" * 5000 + '"}', "line 1: prompt_wav: "),
        ('{"id": "a", "text": "\\ud800"}', "line 1: target_text: has half of a surrogate"),
        (f'{{"id": "a", "text": "b", "seed": {"9" * 5000}}}', "line 1: "),
    ],
    ids=["deep", "long path", "surrogate", "long number"],
)
def test_a_manifest_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "manifest"
    path.write_text(line)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)

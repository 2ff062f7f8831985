"""The manifest of offline inference: what a line may be, and what is said of one that is not."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone.errors import InvalidRequest
from tritone.llm.contract import SamplingParams
from tritone.local.offline.manifest import read_manifest
from tritone.synthesis.values import Emotion


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "meta.lst"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a second in stereo at 44.1 kHz, 0.5 left and 0.25 right."""
    (tmp_path / "prompts").mkdir()
    path = tmp_path / "prompts" / "anna.wav"
    stereo = np.repeat([[0.5, 0.25]], 22050, axis=0)
    soundfile.write(path, stereo, 44100, subtype="FLOAT")
    return path


def test_both_kinds_of_lines(tmp_path: Path, recording: Path) -> None:
    said = {"id": "b", "text": "two", "voice": "anna", "seed": 3, "speed": 1.5, "top_k": 1}
    cloned = {"id": "c", "text": "three", "prompt_wav": str(recording), "instruct_text": "slowly"}
    path = manifest(
        tmp_path,
        "\ufeffa | what she said | prompts/anna.wav | one\r",
        "",
        json.dumps(said),
        json.dumps(cloned),
        "第 四|||four",
    )
    found = read_manifest(path, SamplingParams(seed=9, temperature=0.7))
    assert found.problems == []
    a, b, c, d = found.items
    assert [(item.line, item.id) for item in found.items] == [
        *((1, "a"), (3, "b"), (4, "c"), (5, "第 四"))
    ]
    request = a.load()
    assert (request.text, request.reference_text, request.reference_rate) == (
        *("one", "what she said", 44100),
    )
    assert request.reference_wav.shape == (22050,) and request.reference_wav.dtype == np.float32
    np.testing.assert_allclose(request.reference_wav, 0.375)
    assert request.sampling == SamplingParams(temperature=0.7, seed=9)
    assert (b.request.voice, b.request.speed) == ("anna", 1.5)
    assert b.request.sampling == SamplingParams(temperature=0.7, top_k=1, seed=3)
    assert (c.request.instruct_text, c.prompt_wav) == ("slowly", recording)
    assert d.load() is d.request and d.request.reference_wav is None
    assert not any(item.request.streaming for item in found.items)


WRONG_EMOTIONS = (
    ({"emotion_weight": 0.5}, "emotion_weight: needs emotion_vector, emotion_wav or"),
    ({"emotion_vector": [1], "emotion_text": "a"}, "emotion_vector: cannot be combined with"),
    ({"emotion_vector": [1.3]}, "emotion_vector: is 1.3; the limits"),
    ({"emotion_vector": ["1"]}, "emotion_vector.0: Input should be a valid number"),
    ({"emotion_text": "a", "emotion_weight": 2}, "emotion_weight: is 2.0; the limits"),
    ({"emotion_audio": "none.wav"}, "emotion_audio: "),
    ({"emotion_audio": "blip.wav"}, "emotion_wav: lasts 0.01 s"),
    ({"emotion_audio": "prompts/anna.wav", "emotion_text": "a"}, "emotion_wav: cannot be combin"),
)


def test_emotions_are_those_of_a_request(tmp_path: Path, recording: Path) -> None:
    said = [
        {"emotion_vector": [0.5, 0, 1], "emotion_weight": 0.25},
        {"emotion_audio": "prompts/anna.wav", "prompt_wav": "prompts/anna.wav"},
        {"emotion_text": "So sad."},
    ]
    lines = [json.dumps({"id": str(n), "text": "a", **more}) for n, more in enumerate(said)]
    found = read_manifest(manifest(tmp_path, *lines))
    assert found.problems == []
    shares, heard, read = (item.load() for item in found.items)
    assert shares.emotion == Emotion(vector=(0.5, 0.0, 1.0), weight=0.25)
    assert (heard.emotion.given, heard.emotion.rate) == (("emotion_wav",), 44100)
    assert heard.emotion.weight == 1
    np.testing.assert_array_equal(heard.emotion.wav, heard.reference_wav)
    assert read.emotion == Emotion(text="So sad.")


def test_every_bad_line_is_named_and_the_others_stay(tmp_path: Path, recording: Path) -> None:
    soundfile.write(tmp_path / "blip.wav", np.zeros(100), 16000)
    soundfile.write(tmp_path / "hour.wav", np.zeros(40 * 8000), 8000)
    (tmp_path / "noise.wav").write_bytes(b"no sound file")
    lines = [
        ("good|||hello", None),
        ("a|b|c", "fields: there are 3; id|prompt_text|prompt_wav|text has 4"),
        ("good|||again", "id: 'good' is also the id of line 1"),
        ("../x|||hello", "id: '../x' cannot name a file"),
        ("/etc/x|||hello", "id: '/etc/x' cannot name a file"),
        (".hidden|||hello", "id: '.hidden' cannot name a file"),
        ("|||hello", "id: '' cannot name a file"),
        (f"{'x' * 201}|||hello", "id: has 201 bytes; the limit is 200"),
        ('{"id": "a\\nb", "text": "hello"}', r"id: 'a\nb' cannot name a file"),
        ("b|||", "target_text: is empty"),
        (f"c|||{'x' * 20001}", "target_text: has 20001 characters; the limit is 20000"),
        ("d||none.wav|hello", "none.wav does not exist"),
        ("e||noise.wav|hello", "noise.wav cannot be read: "),
        ("f||blip.wav|hello", "reference_wav: lasts 0.01 s"),
        ("g||hour.wav|hello", "reference_wav: lasts 40.00 s"),
        ("h|said||hello", "reference_text: needs reference_wav"),
        ('{"id": "i"}', "text: Field required"),
        ('{"id": "j", "text": "hello", "sed": 1}', "sed: is not known; the keys are id, text"),
        ('{"id": "k", "text": "hello", "seed": "1"}', "seed: Input should be a valid integer"),
        ('{"id": "l", "text": "hello", "seed": -1}', "seed: is -1; the limits are 0"),
        ('{"id": "m", "text": "hello", "speed": 3}', "speed: is 3.0; the limits are 0.5 and 2.0"),
        ('{"id": "n", "text": ', "JSON: Invalid JSON"),
        *(
            (json.dumps({"id": f"o{n}", "text": "hello", **more}), words)
            for n, (more, words) in enumerate(WRONG_EMOTIONS)
        ),
        ("last||prompts/anna.wav|hello", None),
    ]
    found = read_manifest(manifest(tmp_path, *(line for line, _ in lines)))
    assert [item.id for item in found.items] == ["good", "last"]
    wrong = [(number, words) for number, (_, words) in enumerate(lines, start=1) if words]
    assert [problem.line for problem in found.problems] == [number for number, _ in wrong]
    for problem, (_, words) in zip(found.problems, wrong, strict=True):
        assert words in problem.message


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b" \n\n", r"meta\.lst has no lines; write id\|prompt_text\|prompt_wav\|text"),
        (b"a|||one\nb|||\xff\n", r"meta\.lst, line 2: is not UTF-8"),
        (None, r"meta\.lst cannot be read: No such file"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, contents: bytes | None, words: str) -> None:
    if contents is not None:
        (tmp_path / "meta.lst").write_bytes(contents)
    with pytest.raises(InvalidRequest, match=words):
        read_manifest(tmp_path / "meta.lst")


def test_a_recording_that_went_away(tmp_path: Path, recording: Path) -> None:
    (item,) = read_manifest(manifest(tmp_path, "a||prompts/anna.wav|hello")).items
    recording.unlink()
    with pytest.raises(InvalidRequest, match=r"prompt_wav: .*anna\.wav does not exist"):
        item.load()


def test_a_parquet_manifest_is_as_one_of_json(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'tritone[parquet]'")
    from pyarrow import parquet

    rows = [
        {"id": "a", "text": "Yes.", "seed": 3, "speed": 1.5},
        {"id": "b", "text": "No.", "voice": "joe"},
        {"id": "a", "text": "Twice."},
        {"id": "c", "text": "Well.", "emotion_vector": [0.0, 0.5]},
    ]
    columns = sorted({key for row in rows for key in row})
    table = pyarrow.table({key: [row.get(key) for row in rows] for key in columns})
    parquet.write_table(table, tmp_path / "m.parquet", row_group_size=2)
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_manifest(tmp_path / "m.parquet")
    assert found == read_manifest(tmp_path / "m.jsonl")
    assert [item.line for item in found.items] == [1, 2, 4]
    assert [problem.line for problem in found.problems] == [3]


@pytest.mark.parametrize("contents", [b"PAR1 not", b"", None])
def test_a_damaged_parquet_manifest_is_refused(tmp_path: Path, contents: bytes | None) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'tritone[parquet]'")
    if contents is not None:
        (tmp_path / "m.parquet").write_bytes(contents)
    with pytest.raises(InvalidRequest, match=r"m\.parquet cannot be read"):
        read_manifest(tmp_path / "m.parquet")


def test_without_pyarrow_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidRequest, match=r"pip install 'tritone\[parquet\]'"):
        read_manifest(tmp_path / "m.parquet")

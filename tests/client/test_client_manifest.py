"""Manifests of the benchmark."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone_client import Emotion
from tritone_client.manifest import ManifestError, read_manifest


class TestManifest:
    def test_both_kinds_of_lines(self, tmp_path: Path):
        stereo = np.stack([np.full(441, 0.5), np.full(441, 0.25)], axis=1)
        soundfile.write(tmp_path / "voice.wav", stereo, 44100, subtype="FLOAT")
        manifest = tmp_path / "m.lst"
        line = {"id": "b", "text": "two", "voice": "anna", "seed": 3, "speed": 1, "top_k": 5}
        manifest.write_text(f"\ufeffa|said|voice.wav|one\n\n{json.dumps(line)}\r\nc|||three")
        first, second, third = read_manifest(manifest)
        assert [first.id, second.id, third.id] == ["a", "b", "c"]
        assert (first.utterance.text, first.utterance.reference_text) == ("one", "said")
        assert first.utterance.reference_rate == 44100
        np.testing.assert_allclose(first.utterance.reference_wav, 0.375)
        assert (second.utterance.voice, second.utterance.seed) == ("anna", 3)
        assert third.utterance.reference_wav is None and third.utterance.reference_text is None

    def test_emotions_are_those_of_the_command_line(self, tmp_path: Path):
        soundfile.write(tmp_path / "sad.wav", np.full(80, 0.5), 8000, subtype="FLOAT")
        said = [
            {"emotion_vector": [0.5, 0, 1], "emotion_weight": 0.25},
            {"emotion_audio": "sad.wav"},
            {"emotion_text": "So sad."},
            {},
        ]
        lines = [json.dumps({"id": str(n), "text": "a", **more}) for n, more in enumerate(said)]
        (tmp_path / "m.lst").write_text("\n".join(lines))
        shares, heard, read, none = (e.utterance.emotion for e in read_manifest(tmp_path / "m.lst"))
        assert shares == Emotion(vector=[0.5, 0, 1], weight=0.25)
        assert (len(heard.wav), heard.rate, heard.weight) == (80, 8000, None)
        assert read == Emotion(text="So sad.") and none is None

    def test_every_bad_line_is_named(self, tmp_path: Path):
        (tmp_path / "noise.wav").write_bytes(b"no sound file")
        lines = [
            ("a|b|c", "3 fields; id|prompt_text|prompt_wav|text has 4"),
            ("a|||", "text is missing or empty"),
            ("a||none.wav|hello", "none.wav does not exist"),
            ("a||noise.wav|hello", "prompt_wav: "),
            ("a|said||hello", "prompt_text needs prompt_wav"),
            ('{"text": "hello"}', "id is missing or empty"),
            ('{"id": "a", "txt": "hello"}', "'txt' is not known; the keys are id, text"),
            ('{"id": "a", "text": "hello", "seed": "1"}', "seed: '1' is not int"),
            ('{"id": "a", "text": "hello", "seed": true}', "seed: True is not int"),
            ('{"id": "a", "text": "hello", "seed": -1}', "seed: -1 does not fit UINT64"),
            (
                '{"id": "a", "text": "b", "emotion_weight": 1}',
                "give one of emotion_vector, emotion_au",
            ),
            (
                '{"id": "a", "text": "b", "emotion_vector": ["1"]}',
                "emotion_vector: has '1', which is",
            ),
            ('{"id": "a", "text": "b", "emotion_vector": []}', "emotion_vector: has 0 values"),
            ('{"id": "a", "text": "b", "emotion_audio": "no.wav"}', "emotion_audio: "),
            (f'{{"id": "a", "text": "b", "emotion_vector": [1{"0" * 400}]}}', "does not fit FP32"),
            ('{"id": "a", "text": ', "Expecting value"),
            ("good|||hello", None),
            ("good|||hello", "id 'good' is there already"),
        ]
        manifest = tmp_path / "m.lst"
        manifest.write_text("\n".join(line for line, _ in lines))
        with pytest.raises(ManifestError) as caught:
            read_manifest(manifest)
        told = str(caught.value).splitlines()
        wrong = [(at, words) for at, (_, words) in enumerate(lines, start=1) if words]
        assert len(told) == len(wrong)
        for line, (at, words) in zip(told, wrong, strict=True):
            assert line.startswith(f"{manifest}, line {at}: ") and words in line

    @pytest.mark.parametrize("contents", [b"", b"\n \n", b"a|||\xff"])
    def test_what_is_no_manifest(self, tmp_path: Path, contents: bytes):
        (tmp_path / "m.lst").write_bytes(contents)
        with pytest.raises(ManifestError, match=r"m\.lst"):
            read_manifest(tmp_path / "m.lst")

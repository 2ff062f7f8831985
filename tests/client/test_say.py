"""What the command line says, and the files that it writes."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from serving import RATE
from waiting import HANG_S

from tritone_client import Emotion
from tritone_client.output import SUFFIXES, RawWriter, open_writer, to_s16le
from tritone_client.say import build_parser, main, utterance_from


@pytest.fixture
def tone() -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


class TestOutput:
    @pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in (".pcm", ".raw")])
    def test_written_in_pieces_reads_as_a_whole(self, tmp_path, tone, suffix):
        path = tmp_path / f"tone{suffix}"
        writer = open_writer(str(path), RATE)
        for piece in np.array_split(tone, 7):
            writer.write(piece)
        writer.close()
        read, rate = soundfile.read(path, dtype="float32")
        assert (read.shape, rate) == (tone.shape, RATE)
        level = np.sqrt(np.mean(read[2000:-2000] ** 2))
        assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
        if suffix in (".wav", ".flac"):
            np.testing.assert_allclose(read, tone, atol=1 / 32767)

    def test_wav_is_valid_while_it_grows(self, tmp_path, tone):
        path = tmp_path / "growing.wav"
        writer = open_writer(str(path), RATE)
        for pieces in (1, 2):
            writer.write(tone)
            with wave.open(str(path)) as reader:
                assert reader.getnframes() == pieces * tone.size
        writer.close()

    def test_raw_clips_and_leaves_stdout_open(self):
        sink = io.BytesIO()
        writer = RawWriter(sink, owned=False)
        writer.write(np.array([0.0, 1.0, -2.0, 0.5], np.float32))
        writer.close()
        assert np.frombuffer(sink.getvalue(), "<i2").tolist() == [0, 32767, -32767, 16384]

    def test_raw_file(self, tmp_path, tone):
        writer = open_writer(str(tmp_path / "tone.pcm"), RATE)
        writer.write(tone)
        writer.close()
        assert (tmp_path / "tone.pcm").read_bytes() == to_s16le(tone)

    def test_unknown_format_says_which_are_known(self, tmp_path):
        with pytest.raises(ValueError, match=r"unknown format \.mp3; use \.wav \.flac"):
            open_writer(str(tmp_path / "tone.mp3"), RATE)


class TestSay:
    def parse(self, *arguments):
        return utterance_from(build_parser("say").parse_args(arguments))

    def test_options_reach_the_utterance(self, tmp_path: Path):
        stereo = np.stack([np.full(441, 0.5), np.full(441, 0.25)], axis=1)
        soundfile.write(tmp_path / "voice.wav", stereo, 44100, subtype="FLOAT")
        utterance = self.parse(
            *("hi", "--reference-audio", str(tmp_path / "voice.wav"), "--reference-text", "a"),
            *("--instruct", "b", "--voice", "c", "--seed", "7", "--temperature", "0.5"),
            *("--top-p", "0.6", "--top-k", "5", "--speed", "1.5", "--no-stream"),
            *("--pad-reference", "1"),
        )
        assert utterance.reference_rate == 44100
        assert utterance.reference_length == 441
        np.testing.assert_allclose(utterance.reference_wav[:441], 0.375)
        assert utterance.reference_wav.size == 44100
        assert (utterance.text, utterance.reference_text, utterance.instruct_text) == (
            "hi",
            "a",
            "b",
        )
        assert (utterance.voice, utterance.seed, utterance.streaming) == ("c", 7, False)
        assert (utterance.temperature, utterance.top_p, utterance.top_k) == (0.5, 0.6, 5)
        assert utterance.speed == 1.5

    def test_an_emotion_is_shares_or_a_recording_or_a_text(self, tmp_path: Path):
        soundfile.write(tmp_path / "sad.wav", np.full(80, 0.5), 8000, subtype="FLOAT")
        shares = self.parse("hi", "--emotion-vector", "0.5,0,1", "--emotion-weight", "0.25")
        assert shares.emotion == Emotion(vector=(0.5, 0.0, 1.0), weight=0.25)
        heard = self.parse("hi", "--emotion-audio", str(tmp_path / "sad.wav")).emotion
        assert (len(heard.wav), heard.rate, heard.weight) == (80, 8000, None)
        assert self.parse("hi", "--emotion-text", "So sad.").emotion == Emotion(text="So sad.")
        assert self.parse("hi").emotion is None

    def test_text_from_standard_input(self, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
        assert self.parse("-").text == "from a pipe"

    @pytest.mark.parametrize(
        "arguments, words",
        [
            (["hi", "-o", "x.mp3"], "unknown format .mp3"),
            (["hi", "--reference-audio", "none.wav"], "none.wav"),
            (["hi", "--json", "--play"], "both want stdout"),
            (["hi", "--emotion-vector", "1,a"], "invalid numbers value: '1,a'"),
            (["hi", "--emotion-weight", "0.5"], "give one of emotion_vector"),
            (["hi", "--emotion-vector", "1", "--emotion-text", "a"], "give one of emotion_vector"),
            (["hi", "--emotion-audio", "none.wav"], "none.wav"),
        ],
    )
    def test_usage_errors_are_plain(self, capsys, arguments, words):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err

    def test_no_server_is_status_3_and_leaves_no_file(self, capsys, tmp_path):
        target, patient = tmp_path / "out.wav", ["--timeout", str(HANG_S)]
        assert main(["hi", "--url", "127.0.0.1:1", "-o", str(target), *patient]) == 3
        assert capsys.readouterr().err.startswith("UNAVAILABLE: ")
        assert not target.exists()

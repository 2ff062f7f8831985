"""Teacher audio to utterances, utterances to shards, and shards back to one long track."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from trained_work import SENTENCES, Humming, tiny_voice

from evaluation.loudness import loudness
from training import speech
from training.config import SpeakerConfig, SpeechConfig
from training.dataset import Crops, Track
from training.speech import SAMPLES_PER_TOKEN, Utterance, fit
from training.teachers import RATE, TEACHERS, Spoken
from training.train_tokenizer import PhonemeClasses
from tritone.families.cosyvoice2.voice import prompt_mel
from tritone.frontend.audio.features import whisper_log_mel
from tritone.frontend.audio.resample import resample

CONFIG = tiny_voice().speech
(LEAD, _), (TAIL, _) = CONFIG.lead_seconds, CONFIG.tail_seconds
SPEAKER = SpeakerConfig(
    teacher="humming", first=0, utterances=len(SENTENCES), f0_range=(60.0, 450.0)
)


def spoken(before: float, tone: float, after: float, level: float = 0.3) -> Spoken:
    """Silence, a tone with two characters of equal length, silence; times in seconds."""
    time = np.arange(round(tone * RATE)) / RATE
    wav = level * np.sin(2 * np.pi * 200 * time)
    wav = np.pad(wav, (round(before * RATE), round(after * RATE)))
    return Spoken(wav.astype(np.float32), np.array([before + tone / 2, before + tone]))


def fitted(*seconds: float, config: SpeechConfig = CONFIG) -> Utterance:
    found = fit("ab", spoken(*seconds), config, seed=0)
    assert found is not None
    return found


def test_silence_is_cut_to_the_lead_and_tail_asked_for() -> None:
    found = fitted(0.5, 1.0, 0.7)
    wanted = LEAD + 1.0 + TAIL
    assert wanted - 1e-6 < len(found.wav) / RATE < wanted + 0.06
    (loud,) = np.nonzero(np.abs(found.wav) > 1e-3)
    assert loud[0] / RATE == pytest.approx(LEAD, abs=0.011)
    assert found.ends / 25 == pytest.approx([LEAD + 0.5, LEAD + 1.0], abs=0.011)


def test_the_silence_kept_is_drawn_for_each_utterance() -> None:
    varied = CONFIG.model_copy(update={"lead_seconds": (0.02, 0.2), "tail_seconds": (0.05, 0.3)})
    made = [fit("ab", spoken(0.5, 1.0, 0.7), varied, seed) for seed in range(20)]
    leads = [utterance.ends[0] / 25 - 0.5 for utterance in made if utterance]
    assert min(leads) >= 0.01 and max(leads) <= 0.211 and max(leads) - min(leads) > 0.1
    assert len({len(utterance.wav) for utterance in made if utterance}) > 3


def test_no_more_is_kept_than_there_is() -> None:
    found = fitted(0.0, 1.0, 0.0)
    assert len(found.wav) == 25 * SAMPLES_PER_TOKEN
    assert found.ends == pytest.approx([12.5, 25.0])


@pytest.mark.parametrize("seconds", [0.61, 0.9999, 1.3])
def test_an_utterance_is_whole_tokens(seconds: float) -> None:
    found = fitted(0.1, seconds, 0.01)
    assert len(found.wav) % SAMPLES_PER_TOKEN == 0
    assert found.ends.max() <= len(found.wav) / SAMPLES_PER_TOKEN


@pytest.mark.parametrize("level", [0.002, 0.05, 0.9])
def test_every_utterance_is_equally_loud(level: float) -> None:
    found = fit("ab", spoken(0.2, 1.0, 0.3, level), CONFIG, seed=0)
    assert found is not None
    assert loudness(found.wav, RATE) == pytest.approx(CONFIG.loudness, abs=0.2)
    loudest = fit("ab", spoken(0.2, 1.0, 0.3), CONFIG.model_copy(update={"loudness": 6}), seed=0)
    assert loudest is not None and np.abs(loudest.wav).max() == pytest.approx(0.98)


@pytest.mark.parametrize(("seconds", "kept"), [(0.3, False), (0.5, True), (8.7, True), (9, False)])
def test_utterances_out_of_bounds_are_refused(seconds: float, kept: bool) -> None:
    assert (fit("ab", spoken(0.2, seconds, 0.3), CONFIG, seed=0) is not None) == kept


def test_what_cannot_be_pronounced_is_not_spoken() -> None:
    assert speech.read_aloud("... !", Humming(), CONFIG, 0) is None


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, and a code for each token that says where it stands."""
    work = tmp_path_factory.mktemp("speech")
    folder = work / "speech" / "heart"
    folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(TEACHERS, "humming", Humming)
        for start in (0, 5):
            lines = ["!?", *SENTENCES[start : start + 5]]
            kept = speech.write_shard(folder / f"{start:06d}.npz", lines, SPEAKER, CONFIG)
            assert kept == len(lines) - 1
    (folder / "000010.partial.npz").write_bytes(b"of a run that was stopped")
    (work / "codes").mkdir()
    np.save(work / "codes" / "heart.npy", np.arange(Track(work, "heart").tokens, dtype=np.int16))
    return work


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    """What write_shard spoke: the seed is the line's place in its shard."""
    found = [
        speech.read_aloud(line, Humming(), CONFIG, seed=1 + index % 5)
        for index, line in enumerate(SENTENCES)
    ]
    return [utterance for utterance in found if utterance is not None]


def test_a_track_gives_back_what_was_written(work: Path, utterances: list[Utterance]) -> None:
    track = Track(work, "heart")
    assert track.texts == [u.text for u in utterances] and len(track.texts) == len(SENTENCES)
    assert track.lengths.tolist() == [len(u.wav) // SAMPLES_PER_TOKEN for u in utterances]
    assert track.tokens == len(track.codes) == track.lengths.sum()
    for index, utterance in enumerate(utterances):
        begin, end = track.starts[index], track.starts[index + 1]
        np.testing.assert_allclose(track.ends[index], utterance.ends, rtol=1e-6)
        wav = track.samples(begin, end - begin)
        assert np.abs(wav - utterance.wav).max() < 1 / 32767
        mel = prompt_mel(utterance.wav)
        np.testing.assert_allclose(track.mel[2 * begin : 2 * end], mel, rtol=2**-10, atol=1e-3)
        log_mel = whisper_log_mel(resample(utterance.wav, RATE, 16000)).T
        found = track.whisper[4 * begin : 4 * end]
        np.testing.assert_allclose(found, log_mel, rtol=2**-10, atol=1e-3)
        assert track.codes[begin] == begin


def spoken_at(text: str, ends: NDArray[np.float32], token: float) -> int:
    """Code point of the character being spoken, the last one after all have ended."""
    return ord(next((c for c, end in zip(text, ends, strict=True) if end >= token), text[-1]))


def test_frames_know_their_phoneme(work: Path) -> None:
    track = Track(work, "heart")
    wanted = [
        spoken_at(text, ends, (frame + 0.5) / 2)
        for text, ends, length in zip(track.texts, track.ends, track.lengths, strict=True)
        for frame in range(2 * length)
    ]
    assert track.frame_phonemes.tolist() == wanted
    classes = PhonemeClasses()
    found = classes(track.frame_phonemes)
    assert classes.count == len(speech.symbols()) + 1 and found.max() < classes.count
    blank = np.isin(track.frame_phonemes, [ord(c) for c in " .,?"])
    assert np.array_equal(found == 0, blank) and 0 < blank.mean() < 0.5


def test_codes_of_other_speech_are_refused(work: Path, tmp_path: Path) -> None:
    folder = tmp_path / "speech" / "heart"
    folder.mkdir(parents=True)
    (folder / "000000.npz").write_bytes((work / "speech/heart/000000.npz").read_bytes())
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes/heart.npy").write_bytes((work / "codes/heart.npy").read_bytes())
    with pytest.raises(AssertionError, match="run 'codes' again"):
        _ = Track(tmp_path, "heart").codes
    with pytest.raises(SystemExit, match=r"no speech of joe in .*: run the stage 'speech' first"):
        Track(tmp_path, "joe")


def test_crops_keep_validation_apart(work: Path) -> None:
    tracks = [Track(work, "heart"), Track(work, "heart")]
    held_out, length = 60, 20
    crops = Crops(tracks, length, seed=1, held_out=held_out)
    split = tracks[0].tokens - held_out
    trained = [row for step in range(60) for row in crops.pick(step, 4)]
    judged = [row for step in range(60) for row in crops.pick(step, 4, validation=True)]
    assert [which for which, _ in trained[:4]] == [0, 1, 0, 1]
    assert max(start for _, start in trained) + length <= split
    assert min(start for _, start in judged) >= split
    assert max(start for _, start in judged) + length <= tracks[0].tokens
    assert crops.pick(3, 8) == crops.pick(3, 8) != crops.pick(4, 8)


def test_jobs_are_the_shards_that_are_missing(tmp_path: Path) -> None:
    voice = tiny_voice()
    (tmp_path / "corpus.txt").write_text("\n".join(f"line {i}" for i in range(8)) + "\n")
    jobs = {str(path.relative_to(tmp_path)): lines for path, lines, _ in _jobs(tmp_path)}
    assert list(jobs) == [
        f"speech/{name}/{start:06d}.npz" for name in voice.speakers for start in (0, 5)
    ]
    assert jobs["speech/joe/000005.npz"] == ["line 6", "line 7"]  # joe's first line is line 1
    (tmp_path / "speech/heart/000000.npz").touch()
    assert len(_jobs(tmp_path)) == 3
    (tmp_path / "corpus.txt").write_text("line 0\n")
    with pytest.raises(SystemExit, match="the corpus has 1 lines; heart wants more"):
        _jobs(tmp_path)


def _jobs(work: Path) -> list[tuple[Path, list[str], SpeakerConfig]]:
    return list(speech._jobs(work, tiny_voice()))

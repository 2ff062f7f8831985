"""Teacher audio and its features, in shards.

A shard is one .npz of utterances laid end to end. With n utterances of t tokens (25 a second):

- lengths (n,) tokens of each utterance; characters (n,) phoneme characters of each
- phonemes (sum characters,) uint32 code points as the tokenizer sees them
- ends (sum characters,) float32 tokens into the utterance at which each character ends
- wav (sum t * 960,) int16 at 24 kHz; mel (sum t * 2, 80) float16; whisper (sum t * 4, 128) float16
"""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from evaluation.loudness import loudness
from training.config import SpeakerConfig, SpeechConfig, VoiceConfig
from training.teachers import RATE, TEACHERS, Spoken, Teacher
from tritone.arrays import Float32
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.families.cosyvoice2.voice import prompt_mel
from tritone.frontend.audio.features import whisper_log_mel
from tritone.frontend.audio.resample import resample
from tritone.frontend.text.pronounce import Pronouncer

SAMPLES_PER_TOKEN = 960
FRAMES_PER_TOKEN = 2
SYMBOLS = Path(__file__).with_name("phonemes.json")


@dataclass(frozen=True)
class Utterance:
    """text: the characters that the tokenizer sees; ends: in tokens; wav: whole tokens."""

    text: str
    ends: NDArray[np.float64]
    wav: Float32


@lru_cache(maxsize=1)
def symbols() -> dict[str, str]:
    """Phoneme to the private-use character that stands for it."""
    table: dict[str, str] = json.loads(SYMBOLS.read_text(encoding="utf-8"))
    return table


@lru_cache(maxsize=1)
def pronouncer() -> Pronouncer:
    return Pronouncer(symbols(), tags=TAGS)


@lru_cache(maxsize=4)
def teacher(name: str) -> Teacher:
    return TEACHERS[name]()


def read_aloud(sentence: str, voice: Teacher, config: SpeechConfig, seed: int) -> Utterance | None:
    """Speak one sentence; None when it is unspeakable or its length is out of bounds."""
    text = pronouncer()(sentence).text
    if not text:
        return None
    sounds = {character: symbol for symbol, character in symbols().items()}
    spoken = voice.speak("".join(sounds.get(c, c) for c in text), seed)
    return fit(text, spoken, config, seed)


def fit(text: str, spoken: Spoken, config: SpeechConfig, seed: int) -> Utterance | None:
    """Cut the silence to a length drawn for each end, set the level, fill up to whole tokens."""
    begin, end = _loud_span(spoken.wav, config, np.random.default_rng(seed))
    seconds = (end - begin) / RATE
    if not config.shortest_seconds <= seconds <= config.longest_seconds:
        return None
    tokens = -(-(end - begin) // SAMPLES_PER_TOKEN)
    wav = spoken.wav[begin : begin + tokens * SAMPLES_PER_TOKEN]
    wav = np.pad(wav, (0, tokens * SAMPLES_PER_TOKEN - len(wav)))
    ends = (spoken.ends - begin / RATE) * (RATE / SAMPLES_PER_TOKEN)
    gain = 10 ** ((config.loudness - loudness(wav, RATE)) / 20)
    return Utterance(text, np.clip(ends, 0, tokens), np.clip(wav * gain, -0.98, 0.98))


def _frame_power(wav: Float32) -> NDArray[np.float64]:
    hop = SAMPLES_PER_TOKEN // 4
    frames = wav[: len(wav) // hop * hop].reshape(-1, hop).astype(np.float64)
    return np.asarray((frames**2).mean(axis=1) + 1e-12)


def _loud_span(wav: Float32, config: SpeechConfig, rng: np.random.Generator) -> tuple[int, int]:
    hop = SAMPLES_PER_TOKEN // 4
    power = _frame_power(wav)
    (loud,) = np.nonzero(power > power.max() * 10 ** (-config.silence_db / 10))
    begin = int(loud[0] * hop - rng.uniform(*config.lead_seconds) * RATE)
    end = int((loud[-1] + 1) * hop + rng.uniform(*config.tail_seconds) * RATE)
    return max(0, begin), min(len(wav), end)


def write_shard(path: Path, lines: list[str], speaker: SpeakerConfig, config: SpeechConfig) -> int:
    """Speak `lines` into one shard; returns the utterances kept."""
    voice = teacher(speaker.teacher)
    spoken = [read_aloud(line, voice, config, seed) for seed, line in enumerate(lines)]
    kept = [utterance for utterance in spoken if utterance is not None]
    arrays = {
        "lengths": np.array([len(u.wav) // SAMPLES_PER_TOKEN for u in kept], np.int32),
        "characters": np.array([len(u.text) for u in kept], np.int32),
        "phonemes": np.array([ord(c) for u in kept for c in u.text], np.uint32),
        "ends": np.concatenate([u.ends for u in kept]).astype(np.float32),
        "wav": np.concatenate([(u.wav * 32767).round().astype(np.int16) for u in kept]),
        "mel": np.concatenate([_mel(u.wav, config) for u in kept]),
        "whisper": np.concatenate([_whisper(u.wav) for u in kept]),
    }
    with written_whole(path) as partial:
        np.savez(partial, **arrays)
    return len(kept)


def _mel(wav: Float32, config: SpeechConfig) -> NDArray[np.float16]:
    return prompt_mel(wav, config.mel_top_hz).astype(np.float16)


def _whisper(wav: Float32) -> NDArray[np.float16]:
    return whisper_log_mel(resample(wav, RATE, 16000)).T.astype(np.float16)


def _jobs(work: Path, voice: VoiceConfig) -> Iterator[tuple[Path, list[str], SpeakerConfig]]:
    lines = (work / "corpus.txt").read_text(encoding="utf-8").splitlines()
    for name, speaker in voice.speakers.items():
        (work / "speech" / name).mkdir(parents=True, exist_ok=True)
        mine = lines[speaker.first : speaker.first + speaker.utterances]
        if len(mine) < speaker.utterances:
            raise SystemExit(f"the corpus has {len(lines)} lines; {name} wants more")
        for start in range(0, len(mine), voice.speech.shard):
            path = work / "speech" / name / f"{start:06d}.npz"
            if not path.is_file():
                yield path, mine[start : start + voice.speech.shard], speaker


def generate(work: Path, voice: VoiceConfig, workers: int | None = None) -> None:
    """Write every shard that is not there yet, one process a core."""
    jobs = sorted(_jobs(work, voice), key=lambda job: job[0].name)  # speakers in turn
    with ProcessPoolExecutor(workers or os.cpu_count(), initializer=_stop_at_once) as pool:
        results = [pool.submit(write_shard, *job, voice.speech) for job in jobs]
        try:
            for result in tqdm(results, desc="speech", unit="shard"):
                result.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _stop_at_once() -> None:
    """In a worker the command's own handler would be one more failed shard."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

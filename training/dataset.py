"""Reading the shards back: one long track of tokens, frames and samples for each speaker."""

from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.speech import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN

WHISPER_PER_TOKEN = 4


class Track:
    """All utterances of one speaker, laid end to end in the order of the corpus.

    A crop of tokens a .. b covers frames 2a .. 2b, Whisper frames 4a .. 4b, samples 960a .. 960b.
    """

    def __init__(self, work: Path, speaker: str) -> None:
        self.speaker = speaker
        self._work = work
        self._shards = [p for p in sorted((work / "speech" / speaker).glob("*.npz")) if _final(p)]
        if not self._shards:
            raise SystemExit(f"no speech of {speaker} in {work}: run the stage 'speech' first")
        self.lengths = self._read("lengths").astype(np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.tokens = int(self.starts[-1])

    def _read(self, name: str) -> NDArray[np.generic]:
        return np.concatenate([np.load(path)[name] for path in self._shards])

    @cached_property
    def mel(self) -> NDArray[np.float16]:
        """(frames, 80) natural-log mel."""
        return self._read("mel")  # type: ignore[return-value]

    @cached_property
    def whisper(self) -> NDArray[np.float16]:
        """(4 * tokens, 128) log-mel of the speech tokenizer."""
        return self._read("whisper")  # type: ignore[return-value]

    @cached_property
    def wav(self) -> NDArray[np.int16]:
        return self._read("wav")  # type: ignore[return-value]

    @cached_property
    def codes(self) -> NDArray[np.int16]:
        """(tokens,) speech codes, written by the stage 'codes'."""
        return self._codes(self.speaker)

    @cached_property
    def worn_codes(self) -> NDArray[np.int16]:
        """(tokens,) codes of the same speech, badly recorded."""
        return self._codes(f"{self.speaker}_worn")

    def _codes(self, name: str) -> NDArray[np.int16]:
        codes: NDArray[np.int16] = np.load(self._work / "codes" / f"{name}.npy")
        assert len(codes) == self.tokens, "speech was generated after the codes: run 'codes' again"
        return codes

    @cached_property
    def texts(self) -> list[str]:
        characters = self._read("characters")
        text = self._read("phonemes").astype("<u4").tobytes().decode("utf-32-le")
        cuts = np.concatenate([[0], np.cumsum(characters)])
        return [text[a:b] for a, b in pairwise(cuts)]

    @cached_property
    def ends(self) -> list[NDArray[np.float32]]:
        """Of each utterance: where each character ends, in tokens from the utterance's start."""
        cuts = np.cumsum(self._read("characters"))[:-1]
        return np.split(self._read("ends").astype(np.float32), cuts)

    @cached_property
    def frame_phonemes(self) -> NDArray[np.uint32]:
        """(frames,) code point of the character spoken at the middle of each frame."""
        out = np.zeros(self.tokens * FRAMES_PER_TOKEN, np.uint32)
        for text, ends, start, length in zip(
            self.texts, self.ends, self.starts[:-1], self.lengths, strict=True
        ):
            middles = (np.arange(length * FRAMES_PER_TOKEN) + 0.5) / FRAMES_PER_TOKEN
            index = np.minimum(np.searchsorted(ends, middles), len(text) - 1)
            points = np.frombuffer(text.encode("utf-32-le"), "<u4")
            first = start * FRAMES_PER_TOKEN
            out[first : first + len(middles)] = points[index]
        return out

    def samples(self, start: int, tokens: int) -> NDArray[np.float32]:
        """(tokens * 960,) samples in [-1, 1] from token `start` on."""
        crop = self.wav[start * SAMPLES_PER_TOKEN : (start + tokens) * SAMPLES_PER_TOKEN]
        return crop.astype(np.float32) / 32767


def _final(path: Path) -> bool:
    return ".partial" not in path.name


class Crops:
    """Random crops of equal length from several tracks, each track in turn."""

    def __init__(self, tracks: list[Track], tokens: int, seed: int, held_out: int) -> None:
        """held_out: tokens at the end of each track that only validation sees."""
        self.tracks, self.tokens, self.seed, self.held_out = tracks, tokens, seed, held_out

    def pick(self, step: int, batch: int, *, validation: bool = False) -> list[tuple[int, int]]:
        """(track index, first token) of each row; the same for the same step."""
        rng = np.random.default_rng([self.seed, step, int(validation)])
        rows = []
        for row in range(batch):
            which = row % len(self.tracks)
            total = self.tracks[which].tokens
            needed = self.held_out + self.tokens + 1
            if total < needed:
                raise SystemExit(
                    f"{self.tracks[which].speaker} has {total} tokens of speech and needs "
                    f"{needed}: set more utterances in the configuration"
                )
            low, high = (total - self.held_out, total) if validation else (0, total - self.held_out)
            rows.append((which, int(rng.integers(low, high - self.tokens))))
        return rows

"""Whether what flow and vocoder give is sound: numbers, within full scale, and not silent for
long."""

from dataclasses import dataclass

import numpy as np

from tritone.arrays import Float32
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.timing import AUDIBLE_DBFS

LONGEST_SILENCE_S = 2.0  # at the usual tempo; the longest of 260 sound utterances is 0.54
LONGEST_CLIP_S = 0.002  # in a row at full scale; a loud voice touches it
FULL_SCALE = 0.985  # vocoders limit their samples to 0.99

WORD_S = 0.5  # so much of speech that breaks off may be left out, so that it ends at a word
GAP_S = 0.02  # the shortest gap between words
GAP_DB = 20.0  # below the loudest that is near

_AUDIBLE = 10 ** (AUDIBLE_DBFS / 20)


def first_bad(values: Float32) -> int | None:
    """The first place along the last axis that has a value which is no number or infinite."""
    finite = np.isfinite(values)
    if finite.all():
        return None
    return int(np.argwhere(~finite)[:, -1].min())


def word_end(wave: Float32, rate: int) -> int:
    """How many samples to keep of (n,) that break off: up to the last gap between words, or all
    where none is near the end."""
    size = round(GAP_S * rate)
    count = min(len(wave), round(WORD_S * rate)) // size
    if not count:
        return len(wave)
    begin = len(wave) - count * size
    power = np.square(wave[begin:].reshape(count, size)).mean(axis=1)
    gaps = np.flatnonzero(power < power.max() * 10 ** (-GAP_DB / 10))
    return begin + (int(gaps[-1]) + 1) * size if gaps.size else len(wave)


@dataclass
class SoundGuard:
    """Follows the samples of one segment. rate: in Hz. speed: of speech, which makes its pauses
    longer or shorter. audible: whether any sample so far can be heard."""

    rate: int
    speed: float = 1.0
    audible: bool = False
    _silent: int = 0  # samples since the last one that can be heard

    def admit(self, wave: Float32) -> tuple[Float32, Flaw | None]:
        """Finite samples (n,) as they are to be heard, limited to full scale and without the rest
        of a pause that is too long, and what is wrong with them if anything is."""
        clipped = self._clipped(wave)
        wave, silence = self._shortened(wave)
        return (np.clip(wave, -1, 1) if clipped else wave), clipped or silence

    def _clipped(self, wave: Float32) -> Flaw | None:
        peak = float(np.abs(wave).max(initial=0))
        longest = _longest_run(np.abs(wave) >= FULL_SCALE)
        if peak <= 1 and longest <= LONGEST_CLIP_S * self.rate:
            return None
        seconds = longest / self.rate
        return Flaw("clipping", f"samples up to {peak:.3g}, {1000 * seconds:.1f} ms at full scale")

    def _shortened(self, wave: Float32) -> tuple[Float32, Flaw | None]:
        most = round(LONGEST_SILENCE_S / self.speed * self.rate)
        place, audible = np.arange(len(wave)), np.abs(wave) > _AUDIBLE
        last = np.maximum.accumulate(np.where(audible, place, -1 - self._silent))
        silent = place - last  # so many samples that cannot be heard end here
        self.audible |= bool(audible.any())
        self._silent = int(silent[-1]) if len(wave) else self._silent
        if not (silent == most + 1).any():
            return wave[silent <= most] if (silent > most).any() else wave, None
        return wave[silent <= most], Flaw("silence", f"more than {most / self.rate:g} s of silence")


def _longest_run(true: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))

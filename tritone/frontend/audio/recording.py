"""A reference recording as it comes, to the speech in it at the level that models expect.

People send recordings with seconds of silence around the speech, too quiet, with an offset.
What a model continues from is what it hears: silence is continued with silence, and a level far
from the usual one makes other speech codes of the same words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tritone.arrays import Float32
from tritone.errors import InvalidRequest

HOP_SECONDS = 0.01
QUIETEST = 40.0  # dB below the loud frames, under which a frame is no speech
ABOVE_NOISE = 8.0  # dB above the quiet frames
CLEAR = 12.0  # dB below the loud frames, above which a frame is speech whatever the noise
CLICK_FRAMES = 2  # a click has so many at most; speech has more
MARGIN_SECONDS = (0.08, 0.12)  # kept before and after the speech
STEADY = 4.0  # dB between quiet and loud frames; speech has 15 and more, in noise as loud as it 6
PERIODIC = 0.5  # of a sound repeated after one turn of a voice; 1 for a tone, 0.2 for white noise
NOTED_SECONDS = 0.5  # of silence cut, from which the caller is told
LEVEL = 0.1  # root mean square of the louder half of the frames, of speech of about -23 LUFS
TOLERANCE = 1.6  # times louder or quieter, up to which a recording is left as it is
PEAK = 0.99
SILENT = 1e-4  # largest sample of what is no recording of anything
CANCELLED = 0.2  # of the loudest channel's power, under which the sum of the channels has lost some


@dataclass(frozen=True)
class Recording:
    """wav: (N,) mono samples, the speech alone. notes: on what was done to it."""

    wav: Float32
    notes: tuple[str, ...] = ()


def speech_in(wav: Float32, rate: int, shortest: float) -> Recording:
    """Remove the offset, cut the silence at both ends, and bring the level to the usual one.

    shortest: seconds of speech that must be left. Raises InvalidRequest when there are fewer, and
    for steady noise.
    """
    notes: list[str] = []
    offset = float(wav.mean())
    if abs(offset) > 0.1 * float(np.abs(wav - np.float32(offset)).max() + 1e-9):
        notes.append(f"reference_wav: a constant offset of {offset:.2g} was removed")
    wav = wav - np.float32(offset)
    if float(np.abs(wav).max()) < SILENT:
        raise InvalidRequest(
            "reference_wav", f"is {offset:.2g} throughout; send a recording of a voice"
        )
    begin, end = span(wav, rate)
    cut = (len(wav) - (end - begin)) / rate
    wav = wav[begin:end]
    if len(wav) < shortest * rate:
        raise InvalidRequest(
            "reference_wav",
            f"has {len(wav) / rate:.2f} s of speech and {cut:.2f} s of silence around it; at least "
            f"{shortest:g} s of speech are needed",
        )
    if _is_noise(wav, rate):
        raise InvalidRequest(
            "reference_wav",
            f"has {len(wav) / rate:.2f} s of steady noise and no voice in it; send a recording of "
            "one person speaking",
        )
    if cut >= NOTED_SECONDS:
        notes.append(
            f"reference_wav: {cut:.1f} s of silence at its ends cut, {len(wav) / rate:.1f} s used"
        )
    return Recording(_levelled(wav, rate), tuple(notes))


def levels(wav: Float32, rate: int) -> NDArray[np.float64]:
    """Root mean square of each 10 ms; at least one."""
    hop = max(1, round(HOP_SECONDS * rate))
    whole = wav[: max(hop, len(wav) // hop * hop)].astype(np.float64)
    frames = np.pad(whole, (0, -len(whole) % hop)).reshape(-1, hop)
    return np.asarray(np.sqrt((frames**2).mean(axis=1)) + 1e-9)


def span(wav: Float32, rate: int) -> tuple[int, int]:
    """First and last sample of the speech, with its margins."""
    decibels = 20 * np.log10(levels(wav, rate))
    loud, quiet = np.sort(decibels)[-CLICK_FRAMES - 1 :][0], np.percentile(decibels, 10)
    threshold = max(loud - QUIETEST, min(quiet + ABOVE_NOISE, loud - CLEAR))
    above = np.pad(decibels > threshold, 2)
    windows = np.lib.stride_tricks.sliding_window_view(above, 5)
    speech = np.flatnonzero(above[2:-2] & (windows.sum(axis=1) > CLICK_FRAMES))
    if not len(speech):
        return 0, 0
    hop = round(HOP_SECONDS * rate)
    before, after = (round(seconds * rate) for seconds in MARGIN_SECONDS)
    return max(0, speech[0] * hop - before), min(len(wav), (speech[-1] + 1) * hop + after)


def _is_noise(wav: Float32, rate: int) -> bool:
    """Whether a sound neither changes its level, as words do, nor repeats itself, as vowels do."""
    low, high = np.percentile(20 * np.log10(levels(wav, rate)), [10, 90])
    if high - low >= STEADY:
        return False
    length = round(0.04 * rate)
    frames = wav[: len(wav) // length * length].reshape(-1, length)
    spectra = np.fft.rfft(frames, 2 * length, axis=1)
    alike = np.fft.irfft(np.abs(spectra) ** 2, axis=1)[:, :length]
    alike /= (alike[:, :1] + 1e-12) * (1 - np.arange(length) / length)
    turns = alike[:, round(0.002 * rate) : round(0.017 * rate)]  # 60 to 500 Hz
    return bool(np.median(turns.max(axis=1)) < PERIODIC)


def loudness(wav: Float32, rate: int) -> float:
    """Root mean square of the louder half of the frames: of the voice, whatever the pauses."""
    ordered = np.sort(levels(wav, rate))
    return float(np.sqrt((ordered[len(ordered) // 2 :] ** 2).mean()))


def _levelled(wav: Float32, rate: int) -> Float32:
    level = loudness(wav, rate)
    peak = float(np.abs(wav).max())
    if LEVEL / TOLERANCE <= level <= LEVEL * TOLERANCE and peak <= 1:
        return wav
    return wav * np.float32(min(LEVEL / level, PEAK / peak))


def mixed(channels: Float32) -> Float32:
    """(N, channels) to mono: their mean, or the loudest where they cancel each other."""
    mono: Float32 = channels.mean(axis=1, dtype=np.float32)
    powers = np.square(channels, dtype=np.float64).sum(axis=0)
    if np.square(mono, dtype=np.float64).sum() < CANCELLED * powers.max(initial=0):
        return channels[:, int(powers.argmax())]
    return mono

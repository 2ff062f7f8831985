"""Whether a recording is good enough for a voice that is kept, each measure with its limit.

A request with a recording of its own is spoken whatever it sounds like. A voice that many requests
will use is worth a better recording, so what would be heard in all of them is said before it is
kept.

How far the noise lies below the voice is seen in the recording itself: the noise is what is left in
its quietest frames (the tenth percentile of the levels of 10 ms), which lie in pauses and closures;
the voice is the louder half of the frames. Of noise added to clean speech of two speakers, 1 to 25
s long, 8 to 33 dB below the voice, this finds the true ratio within 1 dB (white, mains) or 3 dB
(pink).
"""

from dataclasses import dataclass

import numpy as np

from tritone.arrays import Float32
from tritone.frontend.audio.recording import LEVEL, TOLERANCE, levels, loudness, span

NEAR_PEAK = 0.98  # of the peak: where a recording is clipped, many samples lie above it


@dataclass(frozen=True)
class QualityLimits:
    """Beyond the first of a pair a recording is refused; beyond the second it is remarked on.

    seconds: of speech, at least. snr_db: the voice above the noise, at least. clipped: the share of
    samples within 2 % of the peak, at most: in clean speech it is below 0.0001, and 0.01 where the
    loudest 10 dB are cut off.
    """

    seconds: tuple[float, float] = (1.0, 3.0)
    snr_db: tuple[float, float] = (10.0, 20.0)
    clipped: tuple[float, float] = (0.01, 0.001)


DEFAULT_LIMITS = QualityLimits()


@dataclass(frozen=True)
class Quality:
    """seconds: of speech, without the silence at its ends. silence: seconds of that. loudness_dbfs:
    of the louder half of the frames, over full scale. snr_db, clipped: see above."""

    seconds: float
    silence: float
    loudness_dbfs: float
    snr_db: float
    clipped: float


def measured(wav: Float32, rate: int) -> Quality:
    """Of (N,) finite samples, N >= 1, not all alike."""
    wav = wav - np.float32(wav.mean())
    begin, end = span(wav, rate)
    speech = wav[begin:end] if end > begin else wav
    loud = loudness(speech, rate)
    # not at the ends, where a recorder may have put silence that has no noise
    noise = float(np.percentile(levels(speech, rate), 10))
    ratio = max(loud**2 - noise**2, 1e-18) / noise**2
    sizes = np.abs(speech)
    return Quality(
        seconds=(end - begin) / rate,
        silence=(len(wav) - (end - begin)) / rate,
        loudness_dbfs=20 * float(np.log10(loud)),
        snr_db=10 * float(np.log10(ratio)),
        clipped=float((sizes >= NEAR_PEAK * sizes.max()).mean()),
    )


def problems(quality: Quality, limits: QualityLimits = DEFAULT_LIMITS) -> list[str]:
    """Why a recording is refused: all of it at once, each with value and limit."""
    return _beyond(quality, limits, 0)


def remarks(quality: Quality, limits: QualityLimits = DEFAULT_LIMITS) -> list[str]:
    """What could be better in one that is taken, and what is done to it."""
    found = _beyond(quality, limits, 1)
    usual, off = 20 * float(np.log10(LEVEL)), 20 * float(np.log10(TOLERANCE))
    if abs(quality.loudness_dbfs - usual) > off:
        found.append(
            f"its level of {quality.loudness_dbfs:.0f} dBFS is brought to {usual:.0f} dBFS"
        )
    return found


def _beyond(quality: Quality, limits: QualityLimits, which: int) -> list[str]:
    kind = ("is needed", "is better")[which]
    found = []
    if quality.seconds < (least := limits.seconds[which]):
        found.append(f"has {quality.seconds:.2f} s of speech; {least:g} s or more {kind}")
    if quality.snr_db < (least := limits.snr_db[which]):
        found.append(
            f"has noise only {quality.snr_db:.0f} dB below the voice; {least:g} dB or more {kind}"
        )
    if quality.clipped > (most := limits.clipped[which]):
        found.append(
            f"is clipped: {quality.clipped:.1%} of its samples lie at the peak; {most:.1%} or less "
            f"{kind}"
        )
    return found

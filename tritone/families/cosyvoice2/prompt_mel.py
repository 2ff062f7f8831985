"""The mel of the flow's prompt: 24 kHz, 50 frames a second."""

from tritone.arrays import Float32
from tritone.families.cosyvoice2.voice import MEL_BINS
from tritone.frontend.audio.features import natural_log_mel

PROMPT_RATE = 24000
PROMPT_FFT, PROMPT_HOP = 1920, 480
HIGH_HZ = 8000.0


def prompt_mel(wav: Float32) -> Float32:
    """Natural-log mel of (N,) samples at 24 kHz, N > 720: (N // 480, 80), bins from 0 to 8 kHz."""
    return natural_log_mel(
        wav, PROMPT_RATE, n_fft=PROMPT_FFT, hop=PROMPT_HOP, bins=MEL_BINS, high_hz=HIGH_HZ
    )

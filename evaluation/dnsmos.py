"""DNSMOS P.835 (Reddy et al., 2022): how clean a listener would find the sound.

The network is Microsoft's, from the package speechmos (MIT). It is run here directly: the package
itself imports librosa, pandas and requests, and none of them is needed for these three scores.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from evaluation.packages import folder
from tritone.arrays import Float32
from tritone.frontend.audio.resample import resample

RATE = 16000
WINDOW_S = 9.01
HOP_S = 1

# From the network's raw outputs to opinion scores, highest power first; fitted by its authors.
_SIGNAL = (-0.08397278, 1.22083953, 0.0052439)
_BACKGROUND = (-0.13166888, 1.60915514, -0.39604546)
_OVERALL = (-0.06766283, 1.11546468, 0.04602535)


@dataclass(frozen=True)
class Opinion:
    """Predicted mean opinion scores, 1 (bad) to 5 (excellent).

    overall: OVRL, of everything; signal: SIG, of the speech; background: BAK, of what is behind it.
    """

    overall: float
    signal: float
    background: float


class Dnsmos:
    """The network, on one thread."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = folder("speechmos") / "dnsmos_models" / "sig_bak_ovr.onnx"
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, wav: Float32, rate: int) -> Opinion:
        """The opinion of (N,) samples in [-1, 1] at `rate` Hz, N >= 1.

        Short audio is doubled until it fills a window of 9.01 s; the scores are means over windows
        one second apart. Both are the authors' recipe.
        """
        assert len(wav), "no samples to judge"
        wav = resample(wav, rate, RATE)
        size = int(WINDOW_S * RATE)
        while len(wav) < size:
            wav = np.concatenate([wav, wav])
        count = int(len(wav) // RATE - WINDOW_S) + 1
        starts = [hop * HOP_S * RATE for hop in range(count)]
        raw = np.mean(
            [self._scores(wav[s : s + size]) for s in starts if s + size <= len(wav)], axis=0
        )
        return Opinion(overall=float(raw[2]), signal=float(raw[0]), background=float(raw[1]))

    def _scores(self, window: Float32) -> tuple[float, ...]:
        (raw,) = self._session.run(None, {"input_1": window[None].astype(np.float32)})
        fits = (_SIGNAL, _BACKGROUND, _OVERALL)
        return tuple(float(np.polyval(fit, x)) for fit, x in zip(fits, raw[0], strict=True))

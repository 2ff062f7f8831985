"""A reference recording to what the language model and the flow are told of it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tritone.arrays import Float32, Int32
from tritone.families.indextts2.campplus import CamPlusPlus
from tritone.families.indextts2.codec import SemanticCodec
from tritone.families.indextts2.reference_config import SAMPLE_RATE
from tritone.families.indextts2.reference_features import prompt_mel, stacked_fbank
from tritone.families.indextts2.w2v_bert import W2vBert
from tritone.frontend.audio.features import SPEECH_RATE, kaldi_fbank
from tritone.frontend.audio.resample import resample

LONGEST_S = 15  # of a recording; the rest is not read


@dataclass(frozen=True)
class Reference:
    """condition: (n, 1024) at 50 Hz, for the conditioners of the language model. For the flow,
    codes: (n,) of the semantic codec; style: (192,) speaker vector; mel: (m, 80) at 86.13 Hz, that
    it goes on from."""

    condition: Float32
    codes: Int32
    style: Float32
    mel: Float32


class ReferenceReader:
    """Safe to use from several threads."""

    def __init__(self, w2v_bert: W2vBert, codec: SemanticCodec, speaker: CamPlusPlus) -> None:
        self._w2v_bert, self._codec, self._speaker = w2v_bert, codec, speaker

    @torch.inference_mode()
    def speaker(self, wav: Float32, rate: int) -> Reference:
        """Of (N,) mono samples in [-1, 1] at `rate` Hz, 0.3 seconds or more."""
        recording = _opening(resample(wav, rate, SAMPLE_RATE), SAMPLE_RATE)
        # upstream makes the one of the other, and so they are of one length
        speech = resample(recording, SAMPLE_RATE, SPEECH_RATE)
        condition = self._condition(speech)
        codes = self._codec.codes(condition)
        return Reference(
            condition[0].numpy(),
            codes[0].numpy().astype(np.int32),
            self.style(speech),
            prompt_mel(recording),
        )

    @torch.inference_mode()
    def style(self, speech: Float32) -> Float32:
        """The speaker vector alone, (192,), of (N,) samples at 16 kHz."""
        style = self._speaker(torch.from_numpy(kaldi_fbank(speech))[None])
        vector: NDArray[np.float32] = style[0].numpy()
        return vector

    @torch.inference_mode()
    def emotion(self, wav: Float32, rate: int) -> Float32:
        """The condition alone, (n, 1024), of a recording as `speaker` takes it."""
        speech = _opening(resample(wav, rate, SPEECH_RATE), SPEECH_RATE)
        condition: NDArray[np.float32] = self._condition(speech)[0].numpy()
        return condition

    def _condition(self, speech: Float32) -> torch.Tensor:
        values, valid = map(torch.from_numpy, stacked_fbank(speech))
        return self._w2v_bert(values[None], valid[None])  # type: ignore[no-any-return]


def _opening(wav: Float32, rate: int) -> Float32:
    return wav[: LONGEST_S * rate]

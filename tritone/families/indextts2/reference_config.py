"""Numbers of the networks that read a reference recording; the defaults are those of the release.
It needs no torch."""

from pydantic import Field

from tritone.config import Count, Size, Strict

SAMPLE_RATE = 22050  # Hz, of the prompt mel and of what is spoken
MEL_FFT, MEL_HOP, MEL_BINS = 1024, 256, 80
FBANK_BINS = 80  # of both filter banks
STACKED = 2  # frames of one of them side by side: 50 a second


class W2vBertConfig(Strict):
    """inputs: channels of two stacked frames of the filter bank. layers: those that are read; the
    released file has more. nearest and farthest distances that have a weight of their own: `left`
    frames back, `right` frames ahead. kernel: frames that a convolution sees, its own the last."""

    inputs: Size = 160
    width: Size = 1024
    heads: Count = 16
    hidden: Size = 4096
    layers: Count = 17
    left: int = Field(default=64, ge=0, le=10_000)
    right: int = Field(default=8, ge=0, le=10_000)
    kernel: Size = 31


class CodecConfig(Strict):
    """width: of the features that are quantised. code_width: of a code book's rows. backbone,
    hidden and layers: of the encoder before the code book."""

    width: Size = 1024
    codes: Size = 8192
    code_width: Size = 8
    backbone: Size = 384
    hidden: Size = 2048
    layers: Count = 12


class SpeakerEncoderConfig(Strict):
    """bins: of the filter bank, a multiple of 8. planes: of the two-dimensional convolutions.
    growth: channels that a dense layer adds; bottleneck: of its own width, in units of growth."""

    bins: Size = 80
    width: Size = 192
    planes: Size = 32
    channels: Size = 128
    growth: Size = 32
    bottleneck: Count = 4


class ReferenceConfig(Strict):
    """All that read a recording before the conditioners do."""

    w2v_bert: W2vBertConfig = W2vBertConfig()
    codec: CodecConfig = CodecConfig()
    speaker: SpeakerEncoderConfig = SpeakerEncoderConfig()

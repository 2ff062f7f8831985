"""IndexTTS2 between speech codes and samples, as a part of config.json. It needs no torch."""

from math import prod

from pydantic import Field, model_validator
from typing_extensions import Self

from tritone.acoustic.solver_config import SolverConfig
from tritone.config import Count, Size, Strict


class RegulatorConfig(Strict):
    """in_channels: of a code's features. channels: of its output. layers: convolutions between."""

    in_channels: Size
    channels: Size
    layers: Count


class EstimatorConfig(Strict):
    """A diffusion transformer of `depth` blocks, and a WaveNet of `wavenet_layers` after it.

    wavenet_dilation: layer i has a dilation of this to the power of i.
    """

    width: Size
    heads: Count
    depth: Count
    feed_forward: Size
    wavenet_layers: Count
    wavenet_kernel: Size
    wavenet_dilation: Count

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width is {self.width}; {self.heads} heads of pairs of channels need a multiple "
                f"of {2 * self.heads}"
            )
        return self


class FlowConfig(Strict):
    """codes: of the codebook. latent_width: of the language model's states; latent_hidden: of the
    layers that bring them to the width of a code's features. style: of the speaker's vector. mel:
    bins of a frame."""

    codes: Size
    latent_width: Size
    latent_hidden: tuple[Size, ...]
    style: Size
    mel: Size
    regulator: RegulatorConfig
    estimator: EstimatorConfig
    solver: SolverConfig = SolverConfig(n_timesteps=25)


class VocoderConfig(Strict):
    """mel: bins of a frame. channels: before the first stage; each stage has half as many.

    tanh_at_final: whether the samples are limited by a tangent, and not cut.
    """

    mel: Size
    channels: Size
    upsample_rates: tuple[Size, ...] = Field(min_length=1)
    upsample_kernels: tuple[Size, ...]
    block_kernels: tuple[Size, ...] = Field(min_length=1)
    block_dilations: tuple[tuple[Size, ...], ...]
    tanh_at_final: bool = False
    bias_at_final: bool = False

    @property
    def samples_per_frame(self) -> int:
        return prod(self.upsample_rates)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        stages, kernels = len(self.upsample_rates), len(self.block_kernels)
        if len(self.upsample_kernels) != stages or len(self.block_dilations) != kernels:
            raise ValueError(
                f"{stages} rates and {kernels} block kernels need as many kernels and dilations, "
                f"have {len(self.upsample_kernels)} and {len(self.block_dilations)}"
            )
        if self.channels % 2**stages:
            raise ValueError(f"channels is {self.channels}; {stages} stages halve it")
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise ValueError(f"a kernel of {kernel} does not upsample by {rate}")
        return self

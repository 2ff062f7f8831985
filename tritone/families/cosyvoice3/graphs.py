"""What is exported: the estimator, over a chunk and whole, and the vocoder's filter, for the window
that opens a stream and for later ones.

What makes the estimator's conditions is an embedding and two small convolutions, no work for an
engine. The pitch predictor computes in float64, which TensorRT has not.
"""

import torch
from torch import Tensor

from tritone.acoustic.rotary import rotary_frequencies, turns
from tritone.acoustic.solver import GUIDED_ROWS
from tritone.engines.sources import Axis, Graph, Profiles, Shape, Sizes
from tritone.families.cosyvoice2 import graphs as cosyvoice2
from tritone.families.cosyvoice2.vocoder_graphs import VocoderFilter, VocoderGraph, gliding_pitch
from tritone.families.cosyvoice3.flow import FlowNetwork
from tritone.families.cosyvoice3.graph_modules import EstimatorPass, EstimatorStep
from tritone.families.cosyvoice3.hift import HiFT
from tritone.families.cosyvoice3.vocoder import Vocoder
from tritone.families.cosyvoice3.voice import Voice

OPENING, LATER = "vocoder_opening", "vocoder"


def flow_graphs(network: FlowNetwork, profiles: Profiles) -> list[Graph]:
    """All graphs of a flow, float32 on the CPU."""
    kinds = (EstimatorStepGraph, EstimatorGraph, MaskedEstimatorGraph)
    return [kind(network, profiles) for kind in kinds]


def vocoder_graphs(network: HiFT, sample_rate: int, profiles: Profiles) -> list[Graph]:
    """All graphs of a vocoder, float32 on the CPU."""
    return [kind(network, sample_rate, profiles) for kind in (OpeningGraph, LaterGraph)]


def turn_input(positions: Tensor, head_dim: int) -> dict[str, Tensor]:
    """What the estimator's graphs take for positions (rows, n)."""
    return {"turn": turns(positions, rotary_frequencies(head_dim).to(positions.device))}


class EstimatorGraph(cosyvoice2.EstimatorGraph):
    """The estimator over a whole utterance with full attention."""

    module_class = EstimatorPass

    def _shapes(self, rows: int, frames: int) -> dict[str, Shape]:
        turn = (2, rows, frames, self.estimator.head_dim // 2)
        return {**super()._shapes(rows, frames), "turn": turn}

    def _inputs(
        self, streams: int, frames: int, draw: torch.Generator, past: int = 0
    ) -> dict[str, Tensor]:
        positions = torch.arange(past, past + frames).expand(GUIDED_ROWS * streams, -1)
        turn = turn_input(positions, self.estimator.head_dim)
        return {**super()._inputs(streams, frames, draw, past), **turn}


class MaskedEstimatorGraph(EstimatorGraph, cosyvoice2.MaskedEstimatorGraph):
    """The estimator over utterances of several lengths, or with the chunk mask."""

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        shapes = super().shapes(sizes)
        del shapes["given"]
        return shapes

    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        inputs = super().sample(sizes, seed)
        del inputs["given"]
        return inputs


class EstimatorStepGraph(EstimatorGraph, cosyvoice2.EstimatorStepGraph):
    """The estimator over one chunk. See `EstimatorStep`."""

    module_class = EstimatorStep


class FilterGraph(VocoderGraph):
    """mel and the source's spectrum -> log magnitude and phase. See `HiFT.filter`, which is another
    function for the opening window."""

    outputs = ("bins",)
    served = True
    top_hz = Voice.mel_top_hz
    opening: bool

    def __init__(self, network: HiFT, sample_rate: int, profiles: Profiles) -> None:
        super().__init__(VocoderFilter(network), network.config.in_channels, profiles)
        self.network, self.more = network, network.look_right
        self._vocoder = Vocoder(network, sample_rate, self._noise)

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        steps = self.network.steps * sizes["window_frames"] + self.opening
        spectrum = (sizes["streams"], self.network.config.istft_n_fft + 2, steps)
        return {**super().shapes(sizes), "spectrum": spectrum}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        turns = self._vocoder.start(seed).turns
        source, _ = self._vocoder.source(gliding_pitch(sizes["window_frames"]), seed, turns)
        spectrum = self.network.analyse(source[None])[..., 0 if self.opening else 1 :]
        return {**super().sample(sizes, seed), "spectrum": spectrum.repeat(sizes["streams"], 1, 1)}

    def _noise(self, first: int, count: int) -> Tensor:
        draw = torch.Generator().manual_seed(first)
        return torch.rand(count, self.network.config.nb_harmonics + 1, generator=draw)


class OpeningGraph(FilterGraph):
    """The window that begins with the stream, or a whole utterance."""

    name = OPENING
    opening = True


class LaterGraph(FilterGraph):
    """A window that begins with frames that are out already, as many as the network looks back."""

    name = LATER
    opening = False

    def __init__(self, network: HiFT, sample_rate: int, profiles: Profiles) -> None:
        super().__init__(network, sample_rate, profiles)
        axis, fewest = self.axes["window_frames"], network.context + 1
        self.axes["window_frames"] = Axis(
            max(axis.least, fewest), max(axis.usual, fewest), max(axis.most, fewest)
        )
        self.examples = (
            {"streams": 2, "window_frames": fewest + 6},
            {"streams": 1, "window_frames": fewest + 15},
        )

"""A vocoder's network under CUDA graphs, for the shapes that come again and again."""

from collections import Counter
from collections.abc import Hashable
from functools import partial

import torch
from torch import Tensor

from tritone.acoustic.filter import FilterNetwork
from tritone.compute.cuda_graph import GraphCache

SEEN = 3  # calls of a shape before it is worth a graph, which costs as much as several
MOST = 24  # graphs; the windows of a stream's hops are a handful


class GraphedFilter:
    """A network's filter with recorded graphs; a rare shape runs as it is. Not thread-safe."""

    def __init__(self, network: FilterNetwork) -> None:
        self._network = network
        self._graphs: GraphCache[Tensor] = GraphCache(next(network.parameters()).device)
        self._inputs: dict[Hashable, tuple[Tensor, Tensor]] = {}
        self._calls: Counter[Hashable] = Counter()

    def __call__(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """A `Filter`; what it returns is overwritten by the next call of the same shape."""
        key = (mel.shape, spectrum.shape)
        if key not in self._inputs and not self._admit(key, mel, spectrum):
            return self._network.filter(mel, spectrum)
        held = self._inputs[key]
        for static, given in zip(held, (mel, spectrum), strict=True):
            static.copy_(given)
        return self._graphs(key, partial(self._network.filter, *held))

    def _admit(self, key: Hashable, mel: Tensor, spectrum: Tensor) -> bool:
        self._calls[key] += 1
        if self._calls[key] < SEEN or len(self._inputs) >= MOST:
            return False
        self._inputs[key] = (torch.empty_like(mel), torch.empty_like(spectrum))
        return True

"""What engines are built from: a family's networks as graphs with their axes, and the weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel
from torch import Tensor, nn

from tritone.engines.record import source_digest
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.llm.config import SpokenConfig

LLM = LLM_DIR  # as a part
VERSION = 1  # of the exported functions: raise it when what they compute, take or give changes
Shape = tuple[int, ...]
Sizes = Mapping[str, int]  # a length for each axis
Profile = dict[str, tuple[Shape, Shape, Shape]]  # least, usual and most of each input


@dataclass(frozen=True)
class Axis:
    """Lengths of one dynamic axis: kernels are chosen for the usual one."""

    least: int
    usual: int
    most: int


@dataclass(frozen=True)
class Profiles:
    """Every dynamic axis of every plan; the defaults are for 25 codes and 50 mel frames a second.

    streams: computed in one call; each is two rows of an estimator, with its conditions and
    without. tokens: codes in one call of an encoder, a chunk or a whole utterance of 30 s; it takes
    one stream. chunk_frames: mel frames of one chunk. past_tokens, past_frames: cached, up to a
    minute. frames: of a whole utterance, up to a minute; batch_frames: of one among several.
    window_frames: of a vocoder; a stream's windows have 24 to 78.
    """

    streams: Axis = Axis(1, 1, 4)
    tokens: Axis = Axis(1, 25, 750)
    past_tokens: Axis = Axis(1, 250, 1500)
    chunk_frames: Axis = Axis(1, 50, 50)
    past_frames: Axis = Axis(1, 500, 3000)
    frames: Axis = Axis(4, 500, 3000)
    batch_frames: Axis = Axis(4, 500, 1500)
    window_frames: Axis = Axis(2, 70, 3000)


class Graph(ABC):
    """One network to export.

    name: of its files. outputs: names in order. axes: the lengths of `shapes` by name. caches:
    inputs and outputs that a stream keeps, stored in half precision. half: whether matrix products
    may run in half precision. served: a server that runs plans needs it. examples: two choices of
    lengths for the export, its check and the acceptance: above 1 in the first, and such that
    dimensions are alike in both only if they always are.
    """

    name: str
    outputs: tuple[str, ...]
    caches: frozenset[str] = frozenset()
    half: bool = True
    served: bool = False
    examples: tuple[Sizes, Sizes]

    def __init__(self, module: nn.Module, axes: Mapping[str, Axis]) -> None:
        self.module = module.eval()
        self.axes = dict(axes)

    @abstractmethod
    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """The shape of every input."""

    @abstractmethod
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        """Inputs as a stream would send them, float32 on the CPU, by a seed."""

    def profile(self) -> Profile:
        least, usual, most = (
            self.shapes({name: getattr(axis, which) for name, axis in self.axes.items()})
            for which in ("least", "usual", "most")
        )
        return {name: (least[name], usual[name], most[name]) for name in least}

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """A name for every dimension of an input that depends on a length; equal ones share it."""
        first, second = (self.shapes(sizes) for sizes in self.examples)
        names = {(self.examples[0][axis], self.examples[1][axis]): axis for axis in self.axes}
        return {
            name: {
                i: names.setdefault((a, b), f"{name}_{i}")
                for i, (a, b) in enumerate(zip(first[name], second[name], strict=True))
                if a != b
            }
            for name in first
        }


class GraphSource(Protocol):
    """The networks of one opened model that may run as TensorRT plans, as its family gives them.

    A part is a network with weights of its own, of which one or more graphs are exported.
    """

    @property
    def parts(self) -> Mapping[str, str]:
        """Every part and its weights file, relative to the model directory."""

    def settings(self, part: str) -> BaseModel:
        """The numbers of a part: a plan holds as long as they and the weights are the same."""

    def outlines(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        """The graphs of a part on the meta device, for their names and shapes."""

    def graphs(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        """The same with their weights, float32 on the CPU; raises ModelDirectoryError."""


class Sources:
    """A model directory as exports and plans see it; weights are read when first needed.

    wanted: whether a graph is to be built.
    """

    profiles = Profiles()

    def __init__(
        self,
        model_dir: Path,
        config: SpokenConfig,
        graph_source: GraphSource,
        wanted: Callable[[Graph], bool] = lambda _: True,
    ) -> None:
        self._wanted = wanted
        self.model_dir, self.config, self._source = model_dir, config, graph_source
        self.parts = (LLM, *graph_source.parts)
        self._digests: dict[str, str] = {}
        self._graphs: dict[str, Sequence[Graph]] = {}

    def weights(self, part: str) -> Path:
        if part == LLM:
            return self.model_dir / LLM_DIR / WEIGHTS_NAME
        return self.model_dir / self._source.parts[part]

    def digest(self, part: str) -> str:
        """Digest of what a part is made from; raises ModelDirectoryError without its weights."""
        if part not in self._digests:
            numbers = self.config.llm if part == LLM else self._source.settings(part)
            rate = self.config.sample_rate
            self._digests[part] = source_digest(self.weights(part), numbers, rate)
        return self._digests[part]

    def outlines(self, part: str) -> Sequence[Graph]:
        """The graphs of a part without weights; the language model has none."""
        if part == LLM:
            return ()
        return [g for g in self._source.outlines(part, self.profiles) if self._wanted(g)]

    def graph(self, part: str, name: str) -> Graph:
        """One graph with its weights."""
        if part not in self._graphs:
            self._graphs[part] = self._source.graphs(part, self.profiles)
        return next(graph for graph in self._graphs[part] if graph.name == name)

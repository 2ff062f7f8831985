"""What engines are built from: the graphs that a family hands in, and the language model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from tritone.engines.graph import Graph, Profiles
from tritone.engines.record import language_model_digest, source_digest
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.llm.config import SpokenConfig

LLM = LLM_DIR  # as a part


class GraphSource(Protocol):
    """The networks of one opened model that may run as TensorRT plans, as its family gives them.

    A part is a network with weights of its own, of which one or more graphs are exported.
    """

    @property
    def parts(self) -> Mapping[str, str]:
        """Every part and its weights file, relative to the model directory."""
        ...

    def settings(self, part: str) -> BaseModel:
        """The numbers of a part: a plan holds as long as they and the weights are the same."""
        ...

    def outlines(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        """The graphs of a part on the meta device, for their names and shapes."""
        ...

    def graphs(self, part: str, profiles: Profiles) -> Sequence[Graph]:
        """The same with their weights, float32 on the CPU; raises ModelDirectoryError."""
        ...


class Sources:
    """A model directory as exports and plans see it; weights are read when first needed."""

    def __init__(
        self,
        model_dir: Path,
        config: SpokenConfig,
        graph_source: GraphSource,
        profiles: Profiles | None = None,
    ) -> None:
        self.model_dir, self.config = model_dir, config
        self.profiles = profiles or Profiles()
        self._source = graph_source
        self._digests: dict[str, str] = {}
        self._outlines: dict[str, Sequence[Graph]] = {}
        self._graphs: dict[str, Sequence[Graph]] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that an engine can be built of, the language model first."""
        return (LLM, *self._source.parts)

    def weights(self, part: str) -> Path:
        """Where the weights of a part lie."""
        if part == LLM:
            return self.model_dir / LLM_DIR / WEIGHTS_NAME
        return self.model_dir / self._source.parts[part]

    def digest(self, part: str) -> str:
        """Digest of what a part is made from; raises ModelDirectoryError without its weights."""
        if part not in self._digests:
            self._digests[part] = self._digest(part)
        return self._digests[part]

    def _digest(self, part: str) -> str:
        if part == LLM:
            return language_model_digest(self.model_dir, self.config)
        numbers = self._source.settings(part)
        return source_digest(self.weights(part), numbers, self.config.sample_rate)

    def outlines(self, part: str) -> Sequence[Graph]:
        """The graphs of a part without weights; the language model has none."""
        if part not in self._outlines:
            given = () if part == LLM else self._source.outlines(part, self.profiles)
            self._outlines[part] = given
        return self._outlines[part]

    def graph(self, part: str, name: str) -> Graph:
        """One graph with its weights."""
        if part not in self._graphs:
            self._graphs[part] = self._source.graphs(part, self.profiles)
        return next(graph for graph in self._graphs[part] if graph.name == name)

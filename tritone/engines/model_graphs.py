"""A model directory as exports and plans see it."""

from functools import cached_property
from pathlib import Path

import torch

from tritone.engines.graph import Graph, Profiles
from tritone.engines.record import source_digest
from tritone.families import family_of
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.flow_graphs import flow_graphs
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.vocoder_graphs import vocoder_graphs


class Sources:
    """The graphs of a model directory; weights are read when they are first needed.

    Raises ModelDirectoryError for a directory that cannot be used.
    """

    def __init__(self, model_dir: Path, profiles: Profiles | None = None) -> None:
        self.model_dir = model_dir
        self.profiles = profiles or Profiles()
        self.family, self.config = family_of(model_dir)
        self._digests: dict[str, str] = {}

    def digest(self, part: str) -> str:
        """Digest of what `part` ("flow", "vocoder", "llm") is made from."""
        if part not in self._digests:
            self._digests[part] = source_digest(self.model_dir, self.config, part)
        return self._digests[part]

    def outlines(self, part: str) -> list[Graph]:
        """The graphs of "flow" or "vocoder" without weights, for their names and shapes."""
        with torch.device("meta"):
            if part == "flow":
                return flow_graphs(Flow(self.config.flow), self.profiles)
            vocoder = Vocoder(self.config.vocoder, self.config.sample_rate)
            return vocoder_graphs(vocoder, self.profiles)

    def graph(self, part: str, name: str) -> Graph:
        """One graph with its weights."""
        graphs = self._flow_graphs if part == "flow" else self._vocoder_graphs
        return next(graph for graph in graphs if graph.name == name)

    @cached_property
    def _flow_graphs(self) -> list[Graph]:
        return flow_graphs(self.family.load_flow(self.model_dir, self.config), self.profiles)

    @cached_property
    def _vocoder_graphs(self) -> list[Graph]:
        vocoder = self.family.load_vocoder(self.model_dir, self.config)
        return vocoder_graphs(vocoder, self.profiles)

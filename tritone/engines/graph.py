"""What an export and a plan are made from: a network, the lengths it takes, and fixed inputs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

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

    def __post_init__(self) -> None:
        assert 1 <= self.least <= self.usual <= self.most


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
    may run in half precision. examples: two choices of lengths for the export, its check and the
    acceptance: above 1 in the first, and such that dimensions are alike in both only if they always
    are.
    """

    name: str
    outputs: tuple[str, ...]
    caches: frozenset[str] = frozenset()
    half: bool = True
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
        """Least, usual and most of every input's shape."""
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

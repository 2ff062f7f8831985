"""A vocoder's network between its two Fourier transforms, which may run in several ways."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

Filter = Callable[[Tensor, Tensor], Tensor]
"""mel (rows, mel, frames) and the source's spectrum (rows, channels, steps) -> log magnitude and
phase, like the spectrum."""


class FilterNetwork(nn.Module):
    """A network with a filter. width: channels of its widest stage but the input's.

    body: names of the children that the filter uses and that may be in half precision. head: its
    last layer, which stays in float32: its output is exponentiated, and a phase.
    """

    body: ClassVar[tuple[str, ...]]
    head: ClassVar[str]
    width: int

    def filter(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        """See `Filter`; on images of one row, (rows, channels, 1, n), as well."""
        raise NotImplementedError

"""The estimator as a function of tensors, for export; what CosyVoice2's says of these holds here.

The turns of the positions come in as the time shifts do: an angle grows to thousands of radians,
where an engine's own sine need not be exact.
"""

from functools import partial

from torch import Tensor, nn

from tritone.acoustic.estimator import Pass
from tritone.families.cosyvoice2.graph_modules import run_chunk, shifts_of
from tritone.families.cosyvoice3.estimator import Estimator


class EstimatorPass(nn.Module):
    """The velocity of whole utterances at one ODE time."""

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(
        self, x: Tensor, shifts: Tensor, turn: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """x (rows, n, 4 * mel), shifts (stages, channels), turn (2, rows, n, head_dim / 2) as
        `turns` gives it -> velocity (rows, n, mel).

        visible: as in CosyVoice2's. It is enough that no frame sees one that pads.
        """
        run = Pass(None, None if visible is None else visible[:, None])
        return self.estimator.run(x, shifts_of(shifts), run, turn)


class EstimatorStep(EstimatorPass):
    """The velocity of one chunk at one ODE time, given what the stream carries of that time."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        shifts: Tensor,
        turn: Tensor,
        tails: Tensor,
        cache: Tensor,
        visible: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As CosyVoice2's, with the turns of the chunk's own positions. Keys in the cache are
        turned."""
        run = partial(self.estimator.run, x, shifts_of(shifts), turn=turn)
        return run_chunk(run, self.estimator.tail_channels, tails, cache, visible)

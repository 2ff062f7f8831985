"""The flow's ODE over whole windows of frames: Euler steps on an even schedule, guided."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tritone.acoustic.solver import GUIDED_ROWS, euler_times, guide
from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.unwanted import check_wanted
from tritone.families.indextts2.estimator import Estimator, TimeChanges
from tritone.families.indextts2.rows import Rows

TOGETHER = 8192  # frames of windows, prompts included: more take memory, and are no cheaper


@dataclass(frozen=True)
class Window:
    """Frames to be solved in the voice of a prompt.

    prompt (p, mel); content (p + n, channels) of the prompt's frames and of the window's; style
    (style,) of the speaker; noise (n, mel) that the window's frames start from.
    """

    prompt: Tensor
    content: Tensor
    style: Tensor
    noise: Tensor


class WindowSolver:
    """Windows of any lengths go together and do not hear of one another.

    In a window's first row everything is given; where a step is guided it has a second one, in
    which nothing is. The noisy mel is zero over the prompt in both.
    """

    def __init__(self, estimator: Estimator, config: SolverConfig) -> None:
        self.estimator, self.rate = estimator, config.inference_cfg_rate
        steps = config.n_timesteps
        self.times = euler_times(torch.linspace(0, 1, steps + 1, device="cpu"))
        guided = steps if config.guided_steps is None else config.guided_steps
        self._guided_steps = guided if self.rate else 0

    def solve(self, windows: Sequence[Window]) -> list[Tensor]:
        """The mel (n, mel) of each window in float32."""
        return [mel for part in _parts(windows) for mel in self._solve_together(part)]

    def _solve_together(self, windows: Sequence[Window]) -> list[Tensor]:
        xs = [window.noise.float() for window in windows]
        guided = self._guided_steps
        if guided:
            xs = self._steps(xs, windows, slice(0, guided), GUIDED_ROWS)
        return self._steps(xs, windows, slice(guided, None), 1)

    @cached_property
    def _changes(self) -> list[TimeChanges]:
        return [self.estimator.time_changes(t) for t, _ in self.times]

    def _steps(
        self, xs: list[Tensor], windows: Sequence[Window], part: slice, count: int
    ) -> list[Tensor]:
        """Some of the steps, with `count` rows of each window."""
        if not self.times[part]:
            return xs
        prompts = [len(window.prompt) for window in windows for _ in range(count)]
        lengths = [len(window.content) for window in windows for _ in range(count)]
        rows, given = Rows(lengths), self._given(windows, count)
        noisy = given.new_zeros(sum(lengths), self.estimator.mel)
        spoken = [
            row[skip:] for row, skip in zip(torch.split(noisy, lengths), prompts, strict=True)
        ]
        sizes = [len(row) for row in spoken]
        for (_, dt), changes in zip(self.times[part], self._changes[part], strict=True):
            check_wanted()
            for index, row in enumerate(spoken):
                row.copy_(xs[index // count])
            velocity = torch.split(self.estimator(noisy, given, changes, rows, prompts), sizes)
            for index, x in enumerate(xs):
                own = torch.stack(velocity[index * count : (index + 1) * count]).float()
                xs[index] = x + dt * (guide(own, self.rate)[0] if count > 1 else own[0])
        return xs

    def _given(self, windows: Sequence[Window], count: int) -> Tensor:
        """The estimator's conditions of all rows, (frames of all rows, channels)."""
        parts, dtype = [], self.estimator.dtype
        for window in windows:
            frames, spoken = len(window.content), len(window.noise)
            prompt = torch.nn.functional.pad(window.prompt, (0, 0, 0, spoken))
            style = window.style.expand(frames, -1)
            inputs = [value.to(dtype) for value in (prompt, window.content, style)]
            parts.append(self.estimator.conditions(*inputs))
            if count > 1:
                nothing = [torch.zeros_like(value[:1]) for value in inputs]
                parts.append(self.estimator.conditions(*nothing).expand(frames, -1))
        return torch.cat(parts)


def _parts(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Neighbours of at most `TOGETHER` frames in all, or one alone."""
    part: list[Window] = []
    for window in windows:
        if part and sum(len(w.content) for w in (*part, window)) > TOGETHER:
            yield part
            part = []
        part.append(window)
    if part:
        yield part

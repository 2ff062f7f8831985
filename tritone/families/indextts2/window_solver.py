"""The flow's ODE over whole windows of frames: on an even schedule, guided."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from tritone.acoustic.ode import OdeStep, Trajectory, even_grid, ode_steps
from tritone.acoustic.solver import guide, rows_of
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
        self.estimator = estimator
        self.steps = ode_steps(config, even_grid(config.n_timesteps))

    def solve(self, windows: Sequence[Window]) -> list[Tensor]:
        """The mel (n, mel) of each window in float32."""
        return [mel for part in _parts(windows) for mel in self._solve_together(part)]

    def _solve_together(self, windows: Sequence[Window]) -> list[Tensor]:
        paths = [Trajectory(window.noise.float()) for window in windows]
        steps = zip(self.steps, self._changes, strict=True)
        for count, part in groupby(steps, lambda pair: rows_of(pair[0])):
            self._follow(paths, windows, part, count)
        return [path.x for path in paths]

    @cached_property
    def _changes(self) -> list[TimeChanges]:
        return [self.estimator.time_changes(step.t) for step in self.steps]

    def _follow(
        self,
        paths: Sequence[Trajectory],
        windows: Sequence[Window],
        steps: Iterable[tuple[OdeStep, TimeChanges]],
        count: int,
    ) -> None:
        """Some of the steps, with `count` rows of each window."""
        prompts = [len(window.prompt) for window in windows for _ in range(count)]
        lengths = [len(window.content) for window in windows for _ in range(count)]
        rows, given = Rows(lengths), self._given(windows, count)
        noisy = given.new_zeros(sum(lengths), self.estimator.mel)
        spoken = [
            row[skip:] for row, skip in zip(torch.split(noisy, lengths), prompts, strict=True)
        ]
        sizes = [len(row) for row in spoken]
        for step, changes in steps:
            check_wanted()
            for index, row in enumerate(spoken):
                row.copy_(paths[index // count].x)
            velocity = torch.split(self.estimator(noisy, given, changes, rows, prompts), sizes)
            for index, path in enumerate(paths):
                own = torch.stack(velocity[index * count : (index + 1) * count])
                path.go(step, guide(own, step.rate)[0])

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

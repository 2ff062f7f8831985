"""Flow matching: speech codes to mel in the voice of a reference, in one pass or in windows.

A frame depends on its whole window, so windows overlap (see `pace`): each is computed with the
whole reference and some of what is out already, and is faded in where the one before it ended. The
start noise belongs to the frame, whatever window computes it, so neighbours begin alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tritone.families.indextts2.acoustic_config import FlowConfig
from tritone.families.indextts2.estimator import Estimator
from tritone.families.indextts2.pace import HELD_FRAMES, frames_of, window_begin
from tritone.families.indextts2.regulator import CodeFeatures, LengthRegulator
from tritone.families.indextts2.window_solver import Window, WindowSolver


class FlowNetwork(nn.Module):
    """Everything with weights between speech codes and mel."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.features = CodeFeatures(config)
        self.regulator = LengthRegulator(config.regulator)
        self.estimator = Estimator(config)

    def reference(self, codes: Tensor, frames: int) -> Tensor:
        """The codes (n,) of a recording to the content of its frames, (frames, channels)."""
        if not frames:
            return self.regulator.input.weight.new_zeros(0, self.config.regulator.channels)
        return self.regulator(self.features.codebook(codes)[None], frames)[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class FlowPrompt:
    """What the flow speaks like: content (p, channels) and mel (p, mel) of the reference's frames,
    style (style,) of its speaker."""

    content: Tensor
    mel: Tensor
    style: Tensor


@dataclass(frozen=True)
class FlowState:
    """A stream between two steps; a `tritone.acoustic.flow_stage.StreamState`, never written to.

    codes (n,) and latents (n, latent_width): from code `first` on. spoken: frames out so far.
    held (h, mel): the frames after those, as the last window had them.
    """

    prompt: FlowPrompt
    codes: Tensor
    latents: Tensor
    held: Tensor
    first: int = 0
    spoken: int = 0

    @property
    def total(self) -> int:
        """Codes so far."""
        return self.first + len(self.codes)

    @property
    def nbytes(self) -> int:
        """Of what the voice's streams share."""
        return self.prompt.content.nbytes + self.prompt.mel.nbytes

    def fork(self) -> "FlowState":
        return self


@dataclass(frozen=True)
class FlowStep:
    """New codes (n,), n >= 0, of one stream with their latents (n, latent_width); `finalize` when
    they are its last."""

    codes: Tensor
    latents: Tensor
    state: FlowState
    finalize: bool


class Flow:
    """Speech codes to log-mel in the voice of a prompt.

    noise: (frames, mel) that the frames of every generation start from.
    """

    def __init__(self, network: FlowNetwork, solver: WindowSolver, noise: Tensor) -> None:
        self.network, self.config, self.solver, self.noise = network, network.config, solver, noise

    def start(self, codes: Tensor, mel: Tensor, style: Tensor) -> FlowState:
        """A stream in the voice of a reference: its codes (n,), mel (p, mel) and style."""
        prompt = FlowPrompt(self.network.reference(codes, len(mel)), mel, style)
        return FlowState(
            prompt, codes[:0], mel.new_zeros(0, self.config.latent_width), mel[:0].clone()
        )

    def whole(self, codes: Tensor, latents: Tensor, state: FlowState) -> Tensor:
        """The mel (mel, frames) of all codes of a generation in one pass, as upstream has it.

        state: of a stream that has just started.
        """
        (mel,) = self.solver.solve([self._window(replace(state, codes=codes, latents=latents))])
        return mel.mT

    def step_all(self, steps: Sequence[FlowStep]) -> list[tuple[Tensor, FlowState]]:
        """For each stream the mel (mel, frames) that became final, and the new state.

        A call computes one window for each stream that has enough new codes, all together.
        """
        states = [self._joined(step) for step in steps]
        due = [self._is_due(step, state) for step, state in zip(steps, states, strict=True)]
        windows = [self._window(state) for state, is_due in zip(states, due, strict=True) if is_due]
        solved = iter(self.solver.solve(windows))
        results = []
        for step, state, is_due in zip(steps, states, due, strict=True):
            mel = self._faded_in(next(solved), state) if is_due else state.held
            results.append(self._spoken(mel, state, step.finalize))
        return results

    def _joined(self, step: FlowStep) -> FlowState:
        codes = torch.cat([step.state.codes, step.codes])
        return replace(
            step.state, codes=codes, latents=torch.cat([step.state.latents, step.latents])
        )

    def _is_due(self, step: FlowStep, state: FlowState) -> bool:
        """Whether a window gives frames that the last one did not have."""
        known = state.spoken + len(state.held)
        held = 0 if step.finalize else HELD_FRAMES
        return frames_of(state.total) > max(known, state.spoken + held)

    def _window(self, state: FlowState) -> Window:
        begin, end = frames_of(state.first), frames_of(state.total)
        features = self.network.features(state.codes, state.latents)
        content = self.network.regulator(features[None], end - begin)[0]
        prompt = state.prompt
        return Window(
            prompt.mel,
            torch.cat([prompt.content, content]),
            prompt.style,
            self.noise[begin:end],
        )

    def _faded_in(self, mel: Tensor, state: FlowState) -> Tensor:
        """The frames (n, mel) of a new window from the first one on that is not out."""
        new = mel[state.spoken - frames_of(state.first) :]
        count = len(state.held)
        share = torch.arange(1, count + 1, device=new.device)[:, None] / (count + 1)
        faded = state.held + share * (new[:count] - state.held)
        return torch.cat([faded, new[count:]])

    def _spoken(self, mel: Tensor, state: FlowState, finalize: bool) -> tuple[Tensor, FlowState]:
        """mel (n, mel): from the first frame on that is not out."""
        known = state.spoken + len(mel)
        spoken = known if finalize else max(state.spoken, known - HELD_FRAMES)
        out, held = torch.split(mel, [spoken - state.spoken, known - spoken])
        first = max(state.first, window_begin(spoken))
        later = first - state.first
        after = replace(
            state,
            codes=state.codes[later:].clone(),
            latents=state.latents[later:].clone(),
            held=held.clone(),
            first=first,
            spoken=spoken,
        )
        return out.mT, after

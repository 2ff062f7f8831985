"""Mel to waveform, whole or call by call.

The network hears some frames on either side, so a stream decodes windows with `context` frames that
are out already before them, and as many that are held back after them. A window goes on for a frame
beyond what is out; that sound is faded into the next window's.

    window   |-- context --|------- out now -------|~|----- held back --|
    next                               |-- context --|~|---- out now ----- ..

Further frames have an effect in theory, up to the network's `reach`: with random weights of the
released size it is a thousandth of the nearest one's at 16 frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tritone.acoustic.vocoder_stage import MOST_FRAMES, check_values, whole_numbers
from tritone.families.indextts2.bigvgan import BigVGAN
from tritone.families.indextts2.pace import VOCODER_CONTEXT

_LONGEST = 1 << 31  # frames of a stream, more than a year of them


@dataclass(frozen=True)
class VocoderState:
    """What a stream carries from call to call, some ten kilobytes.

    emitted: frames out so far; mel (mel, n): the window, from `context` frames before that; beyond
    (samples,): sound of the frame after what is out, none before the first.
    """

    mel: Tensor
    beyond: Tensor
    emitted: int = 0

    def to_tensors(self) -> dict[str, Tensor]:
        numbers = torch.tensor([self.emitted])
        return {"mel": self.mel, "beyond": self.beyond, "numbers": numbers}


class Vocoder:
    """BigVGAN, one-shot (by a call) and streaming (`start`, `step`); it draws no noise.

    context: frames that are heard on either side, 2 at least; with the network's `reach` any split
    of the frames gives the same samples, up to rounding.
    """

    warm_up_frames = (2 * VOCODER_CONTEXT, 46, 128)  # as a stream begins

    def __init__(self, network: BigVGAN, context: int = VOCODER_CONTEXT) -> None:
        assert context >= 2, "the sound beyond what is out has to be heard on its right too"
        self.network, self.context, self.bins = network, context, network.config.mel
        self._frame = network.config.samples_per_frame

    @property
    def device(self) -> torch.device:
        return self.network.device

    def __call__(self, mel: Tensor) -> Tensor:
        """mel (mel, n), n >= 1 -> (samples_per_frame * n,)."""
        return self.network(mel[None])[0]  # type: ignore[no-any-return]

    def start(self, seed: int) -> VocoderState:
        """The seed has no effect."""
        nothing = torch.zeros(self.bins, 0, device=self.device)
        return VocoderState(nothing, nothing[0])

    def restore(self, tensors: Mapping[str, Tensor]) -> VocoderState:
        """Raises ValueError, or KeyError for one that is missing, where they are of no stream."""
        (emitted,) = whole_numbers(tensors["numbers"], 1)
        mel, beyond = (tensors[name].to(self.device) for name in ("mel", "beyond"))
        check_values("mel", mel, self.bins, range(MOST_FRAMES))
        check_values("beyond", beyond, self._frame if emitted else 0)
        end = max(0, emitted - self.context) + mel.shape[1]
        if end >= _LONGEST or (emitted and emitted != end - self.context):
            raise ValueError(f"its window of {mel.shape[1]} frames does not fit {emitted} emitted")
        return VocoderState(mel.float(), beyond.float(), emitted)

    def step(
        self, mel: Tensor, state: VocoderState, *, finalize: bool
    ) -> tuple[Tensor, VocoderState]:
        """Take (mel, n) new frames, n >= 0; return the samples that are ready and the new state.

        Without `finalize` the last `context` frames are held back, so the waveform (m,) may be
        empty; over a stream that ends with `finalize` it adds up to samples_per_frame a frame.
        """
        window = torch.cat([state.mel, mel], dim=1)
        first = max(0, state.emitted - self.context)
        end = first + window.shape[1]
        until = end if finalize else max(state.emitted, end - self.context)
        if until == state.emitted:
            return state.beyond[:0], replace(state, mel=window)
        wave = self(window)[(state.emitted - first) * self._frame :]
        wave = _faded_in(wave, state.beyond)
        ready = (until - state.emitted) * self._frame
        return wave[:ready], VocoderState(
            mel=window[:, max(0, until - self.context) - first :],
            beyond=wave[ready : ready + self._frame],
            emitted=until,
        )


def _faded_in(wave: Tensor, before: Tensor) -> Tensor:
    """(n,) samples after the sound (m,) that another window has of the first m, m <= n; the shares
    of both add up to one."""
    count = len(before)
    share = (torch.arange(count, device=wave.device) + 0.5) / max(1, count)
    return torch.cat([before + share * (wave[:count] - before), wave[count:]])

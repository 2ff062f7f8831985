"""Flow matching: speech tokens to mel, in one pass or chunk by chunk.

Conditional flow matching with Euler steps and classifier-free guidance (Matcha-TTS, CosyVoice2).
The start noise is an argument. Two modes:

- `Flow.forward`: one pass over everything, with full attention or with the chunk mask;
- `Flow.start` and `Flow.step`: each frame is computed once, at the cost of its own chunk, and
  equals the pass with the chunk mask over everything.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tritone.config import FlowConfig
from tritone.nn.attention import chunk_mask
from tritone.nn.encoder import EncoderState, UpsampleEncoder
from tritone.nn.estimator import Estimator, EstimatorState

GUIDED_ROWS = 2  # row 0 with the conditions, row 1 without


@dataclass(frozen=True)
class FlowPrompt:
    """What the flow continues from.

    tokens (P,) speech codes; mel (frames, mel) their log-mel, frames = P * token_mel_ratio;
    embedding (spk_embed_dim,) raw speaker vector; noise (>= all frames, mel) start noise, indexed
    from the first prompt frame.
    """

    tokens: Tensor
    mel: Tensor
    embedding: Tensor
    noise: Tensor


@dataclass(frozen=True)
class FlowState:
    """A stream between two steps. Buffers inside are written in place: use a state once.

    pending: (n,) tokens that wait for their chunk or look-ahead. frame: mel frames computed so
    far, prompt included. steps: one estimator state for each ODE step.
    """

    pending: Tensor
    frame: int
    prompt: FlowPrompt
    speaker: Tensor
    encoder: EncoderState
    steps: tuple[EstimatorState, ...]

    def fork(self) -> "FlowState":
        """A new stream that starts here and shares what is computed so far."""
        steps = tuple(step.fork() for step in self.steps)
        return FlowState(
            self.pending, self.frame, self.prompt, self.speaker, self.encoder.fork(), steps
        )

    @property
    def nbytes(self) -> int:
        """Bytes of cached keys and values of this stream alone."""
        return self.encoder.nbytes + sum(step.store.nbytes for step in self.steps)


def ode_times(steps: int) -> list[tuple[float, float]]:
    """(t, dt) of each Euler step on the cosine schedule 1 - cos(pi/2 * k/steps).

    t is accumulated and dt is what is left to the next point, in float32, as upstream does.
    """
    grid = 1 - torch.cos(torch.linspace(0, 1, steps + 1, device="cpu") * 0.5 * math.pi)
    t, times = grid[0], []
    for point in grid[1:]:
        dt = point - t
        times.append((float(t), float(dt)))
        t = t + dt
    return times


class Flow(nn.Module):
    """Speech tokens (25 Hz) to log-mel (50 Hz) in the voice of a prompt."""

    def __init__(self, config: FlowConfig, left_chunks: int = 0) -> None:
        super().__init__()
        self.config = config
        self.left_chunks = left_chunks
        self.cache_dtype = torch.float32
        self.token_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.speaker_projection = nn.Linear(config.spk_embed_dim, config.output_size)
        self.encoder = UpsampleEncoder(config)
        self.mel_projection = nn.Linear(config.encoder.output_size, config.output_size)
        self.estimator = Estimator(config)
        self.times = ode_times(config.solver.n_timesteps)
        self._shifts: list[list[Tensor]] = []

    def forward(
        self, tokens: Tensor, prompt: FlowPrompt, *, chunked: bool, finalize: bool
    ) -> Tensor:
        """Mel (mel, frames) of tokens (N,) in one pass, the prompt's part cut off.

        chunked: the chunk mask, else full attention. Not finalize: the last tokens are look-ahead
        only and give no frames.
        """
        config = self.config
        everything = torch.cat([prompt.tokens, tokens])
        cut = len(everything) - (0 if finalize else config.pre_lookahead_len)
        masks = self._chunk_masks(cut, len(prompt.tokens)) if chunked else (None, None)
        embedded = self.token_embedding(everything)[None]
        mu = self.mel_projection(self.encoder(embedded[:, :cut], embedded[:, cut:], masks))
        frames = mu.shape[1]
        shared = self._conditions(mu, 0, prompt, self.project_speaker(prompt.embedding))
        x = prompt.noise[None, :frames].to(mu)
        for (_, dt), shifts in zip(self.times, self._time_shifts(), strict=True):
            velocity = self.estimator(self._rows(x, shared), shifts, None, masks[1])
            x = x + dt * self._guide(velocity)
        return x[0, len(prompt.mel) :].mT.float()

    def start(self, prompt: FlowPrompt) -> FlowState:
        """The state after the chunks of the prompt that depend on the voice alone.

        It is the same for every stream of a voice: `fork` it for each.
        """
        config = self.config
        chunk = config.chunk_size
        steps = tuple(
            self.estimator.start(
                GUIDED_ROWS, chunk * config.token_mel_ratio, self.left_chunks, self.cache_dtype
            )
            for _ in self.times
        )
        encoder = self.encoder.start(chunk, self.left_chunks, self.cache_dtype)
        speaker = self.project_speaker(prompt.embedding)
        state = FlowState(prompt.tokens, 0, prompt, speaker, encoder, steps)
        _, state = self.step(prompt.tokens[:0], state, finalize=False)
        return state

    def step(self, tokens: Tensor, state: FlowState, *, finalize: bool) -> tuple[Tensor, FlowState]:
        """Take (n,) new tokens, n >= 0; return the mel frames that became final and the new state.

        A chunk is computed once it and its look-ahead are complete, or at once when `finalize`.
        The result is (mel, frames) with frames >= 0; prompt frames are not in it.
        """
        chunk, lookahead = self.config.chunk_size, self.config.pre_lookahead_len
        pending = torch.cat([state.pending, tokens])
        mels = []
        while len(pending) >= chunk + lookahead or (finalize and len(pending)):
            context = pending[chunk : chunk + lookahead]
            mel, state = self._chunk(pending[:chunk], context, state)
            mels.append(mel)
            pending = pending[chunk:]
        state = FlowState(
            pending, state.frame, state.prompt, state.speaker, state.encoder, state.steps
        )
        mel = torch.cat(mels) if mels else state.prompt.mel[:0]
        new_from = max(0, len(state.prompt.mel) - (state.frame - len(mel)))
        return mel[new_from:].mT.float(), state

    def project_speaker(self, embedding: Tensor) -> Tensor:
        """(spk_embed_dim,) raw speaker vector -> (1, mel) condition of the estimator."""
        weight = self.speaker_projection.weight
        return self.speaker_projection(F.normalize(embedding[None].to(weight), dim=1))  # type: ignore[no-any-return]

    def _chunk_masks(self, tokens: int, prompt_tokens: int) -> tuple[Tensor, Tensor]:
        """The masks, at token and at frame rate, that make one pass equal to the steps."""
        chunk, ratio = self.config.chunk_size, self.config.token_mel_ratio
        prefilled = max(0, prompt_tokens - self.config.pre_lookahead_len) // chunk * chunk
        device = self.mel_projection.weight.device
        at_tokens, at_frames = (
            chunk_mask(
                tokens * rate,
                chunk * rate,
                left_chunks=self.left_chunks,
                prefix=prefilled * rate,
            ).to(device)
            for rate in (1, ratio)
        )
        return at_tokens, at_frames

    def _chunk(self, tokens: Tensor, context: Tensor, state: FlowState) -> tuple[Tensor, FlowState]:
        embedded = self.token_embedding(torch.cat([tokens, context]))[None]
        features, encoder = self.encoder.step(
            embedded[:, : len(tokens)], embedded[:, len(tokens) :], state.encoder
        )
        mu = self.mel_projection(features)
        end = state.frame + mu.shape[1]
        shared = self._conditions(mu, state.frame, state.prompt, state.speaker)
        x = state.prompt.noise[None, state.frame : end].to(mu)
        steps = []
        for (_, dt), shifts, step in zip(self.times, self._time_shifts(), state.steps, strict=True):
            velocity, step = self.estimator.step(self._rows(x, shared), shifts, step)
            steps.append(step)
            x = x + dt * self._guide(velocity)
        return x[0], FlowState(
            state.pending, end, state.prompt, state.speaker, encoder, tuple(steps)
        )

    def _conditions(self, mu: Tensor, start: int, prompt: FlowPrompt, speaker: Tensor) -> Tensor:
        """mu, speaker and prompt mel of frames start.. on the channel axis; zero in row 1."""
        frames = mu.shape[1]
        mel = prompt.mel[start : start + frames].to(mu)
        mel = F.pad(mel, (0, 0, 0, frames - len(mel)))
        given = torch.cat([mu, speaker[:, None].expand(-1, frames, -1), mel[None]], dim=2)
        return torch.cat([given, torch.zeros_like(given)])

    @staticmethod
    def _rows(x: Tensor, conditions: Tensor) -> Tensor:
        return torch.cat([x.expand(GUIDED_ROWS, -1, -1), conditions], dim=2)

    def _guide(self, velocity: Tensor) -> Tensor:
        rate = self.config.solver.inference_cfg_rate
        return (1.0 + rate) * velocity[:1] - rate * velocity[1:]

    def _time_shifts(self) -> list[list[Tensor]]:
        if not self._shifts:
            device = self.mel_projection.weight.device
            self._shifts = [
                self.estimator.time_shifts(torch.tensor([t], device=device)) for t, _ in self.times
            ]
        return self._shifts

"""Flow matching: speech tokens to mel, in one pass or chunk by chunk.

Chunk by chunk each frame is computed once, at the cost of its own chunk, and equals the pass with
the chunk mask over everything. The start noise is an argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from tritone.acoustic.attention import chunk_mask
from tritone.acoustic.linear import PackableLinear
from tritone.acoustic.solver import ChunkInput, EulerSolver, Solver, SolverSettings, StreamState
from tritone.acoustic.unwanted import check_wanted
from tritone.errors import Overloaded
from tritone.families.cosyvoice2.code_network import CodeNetwork, Masks, project_speaker
from tritone.families.cosyvoice2.config import FlowConfig
from tritone.families.cosyvoice2.encoder import EncoderState, UpsampleEncoder
from tritone.families.cosyvoice2.estimator import Estimator


class FlowNetwork(nn.Module):
    """Everything with weights between speech codes and mel: what makes the conditions (embedding,
    encoder, projections), and the velocity estimator. A `CodeNetwork`."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.speaker_projection = nn.Linear(config.spk_embed_dim, config.output_size)
        self.encoder = UpsampleEncoder(config)
        self.mel_projection = PackableLinear(config.encoder.output_size, config.output_size)
        self.estimator = Estimator(config)

    def project_speaker(self, embedding: Tensor) -> Tensor:
        return project_speaker(self.speaker_projection, embedding)

    def start(self, left_chunks: int, dtype: torch.dtype) -> EncoderState:
        return self.encoder.start(self.config.chunk_size, left_chunks, dtype)

    def encode(self, codes: Tensor, context: Tensor, masks: Masks) -> Tensor:
        embed = self.token_embedding
        features = self.encoder(embed(codes)[None], embed(context)[None], masks)
        return self.mel_projection(features)[0]  # type: ignore[no-any-return]

    def encode_chunk(
        self, codes: Tensor, context: Tensor, state: StreamState
    ) -> tuple[Tensor, EncoderState]:
        assert isinstance(state, EncoderState)
        embed = self.token_embedding
        features, state = self.encoder.step(embed(codes)[None], embed(context)[None], state)
        return self.mel_projection(features)[0], state


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
    """`tritone.acoustic.flow_stage.StreamState`: buffers inside are written in place.

    pending: (n,) tokens that wait for their chunk or look-ahead. frame: mel frames computed so
    far, prompt included. encoder: what the network carries, solution: what the solver keeps.
    """

    pending: Tensor
    frame: int
    prompt: FlowPrompt
    speaker: Tensor
    encoder: StreamState
    solution: StreamState

    def fork(self) -> "FlowState":
        return replace(self, encoder=self.encoder.fork(), solution=self.solution.fork())

    @property
    def nbytes(self) -> int:
        return self.encoder.nbytes + self.solution.nbytes


@dataclass(frozen=True)
class FlowStep:
    """New tokens (n,), n >= 0, of one stream; `finalize` when they are its last."""

    tokens: Tensor
    state: FlowState
    finalize: bool


class _Stream:
    """One stream on its way through `Flow.step_all`."""

    def __init__(self, step: FlowStep) -> None:
        pending = torch.cat([step.state.pending, step.tokens])
        self.state = replace(step.state, pending=pending)
        self.finalize = step.finalize
        self.mels: list[Tensor] = []
        self.refused: Overloaded | None = None

    def admit(self, solver: Solver, chunks: int) -> bool:
        """Make room for the next chunks; False when there is not enough."""
        try:
            for _ in range(chunks):
                self.state = replace(self.state, solution=solver.extend(self.state.solution))
        except Overloaded as error:
            # another one: this one knows the frames that know the pages
            self.refused = Overloaded(str(error))
        return self.refused is None

    def spoken(self) -> Tensor:
        """(mel, frames) that became final, the prompt's part cut off."""
        prompt = self.state.prompt.mel
        mel = torch.cat(self.mels) if self.mels else prompt[:0]
        new_from = max(0, len(prompt) - (self.state.frame - len(mel)))
        return mel[new_from:].mT


class Flow:
    """Speech tokens to log-mel in the voice of a prompt.

    solver: of the steps, the Euler solver itself if None; one pass is always the Euler solver's.
    """

    def __init__(
        self, network: CodeNetwork, euler: EulerSolver, solver: Solver | None = None
    ) -> None:
        self.network, self.config = network, network.config
        self.euler, self.solver = euler, solver or euler

    @classmethod
    def of(cls, network: CodeNetwork, settings: SolverSettings | None = None) -> Self:
        """A flow where its network is, with caches that grow."""
        return cls(network, EulerSolver(network.estimator, network.config.solver, settings))

    def __call__(
        self, tokens: Tensor, prompt: FlowPrompt, *, chunked: bool, finalize: bool
    ) -> Tensor:
        """Mel (mel, frames) of tokens (N,) in one pass, the prompt's part cut off.

        chunked: the chunk mask, else full attention. Not finalize: the last tokens are look-ahead
        only and give no frames.
        """
        network, ahead = self.network, self.config.pre_lookahead_len
        everything = torch.cat([prompt.tokens, tokens])
        cut = len(everything) - (0 if finalize else ahead)
        masks = self._chunk_masks(cut, len(prompt.tokens)) if chunked else (None, None)
        mu = network.encode(everything[:cut], everything[cut:], masks)
        given = self._conditions(mu, 0, prompt, network.project_speaker(prompt.embedding))
        x = self.euler.solve_whole(prompt.noise[: len(mu)], given, masks[1])
        return x[len(prompt.mel) :].mT

    def start(self, prompt: FlowPrompt) -> FlowState:
        """The state after the chunks of the prompt that depend on the voice alone: to be forked."""
        network, settings = self.network, self.euler.settings
        encoder = network.start(settings.left_chunks, settings.cache_dtype)
        speaker = network.project_speaker(prompt.embedding)
        state = FlowState(prompt.tokens, 0, prompt, speaker, encoder, self.solver.start())
        _, state = self.step(prompt.tokens[:0], state, finalize=False)
        return state

    def step(self, tokens: Tensor, state: FlowState, *, finalize: bool) -> tuple[Tensor, FlowState]:
        """Take (n,) new tokens, n >= 0; return the mel (mel, frames) that became final, without the
        prompt's, and the new state.

        A chunk is computed once it and its look-ahead are complete, or at once when `finalize`.
        """
        (result,) = self.step_all([FlowStep(tokens, state, finalize)])
        try:
            if isinstance(result, Overloaded):
                raise result
            return result
        finally:
            del result  # an error knows this frame

    def step_all(self, steps: Sequence[FlowStep]) -> list[tuple[Tensor, FlowState] | Overloaded]:
        """`step` for several streams, chunk by chunk together.

        A stream that is alone has several chunks at once where the solver takes them. One for whose
        chunk there is no room has Overloaded in its place.
        """
        streams = [_Stream(step) for step in steps]
        while ready := [stream for stream in streams if self._chunks_known(stream)]:
            check_wanted()
            chunks = self._chunks_at_once(ready[0]) if len(ready) == 1 else 1
            admitted = [stream for stream in ready if stream.admit(self.solver, chunks)]
            inputs = [self._input(stream, chunks) for stream in admitted]
            for stream, (mel, solution) in zip(admitted, self.solver.solve(inputs), strict=True):
                stream.mels.append(mel)
                stream.state = replace(stream.state, solution=solution)
        return [stream.refused or (stream.spoken(), stream.state) for stream in streams]

    def _chunk_masks(self, tokens: int, prompt_tokens: int) -> tuple[Tensor, Tensor]:
        """The masks, at token and at frame rate, that make one pass equal to the steps."""
        chunk, ratio = self.config.chunk_size, self.config.token_mel_ratio
        prefilled = max(0, prompt_tokens - self.config.pre_lookahead_len) // chunk * chunk
        left_chunks, device = self.euler.settings.left_chunks, self.euler.estimator.device
        at_tokens, at_frames = (
            chunk_mask(
                tokens * rate, chunk * rate, left_chunks=left_chunks, prefix=prefilled * rate
            ).to(device)
            for rate in (1, ratio)
        )
        return at_tokens, at_frames

    def _chunks_known(self, stream: "_Stream") -> int:
        """Chunks of a stream that can be computed now."""
        chunk, known = self.config.chunk_size, len(stream.state.pending)
        if stream.refused:
            return 0
        if stream.finalize:
            return -(-known // chunk)
        return max(0, known - self.config.pre_lookahead_len) // chunk

    def _chunks_at_once(self, stream: "_Stream") -> int:
        most = self.solver.chunks_at_once(stream.state.solution)
        return min(most, self._chunks_known(stream))

    def _input(self, stream: "_Stream", chunks: int) -> ChunkInput:
        """What the solver gets for a stream's next chunks; the stream's state is then after them,
        but for the solver's own part."""
        before = stream.state
        mu = torch.cat([self._encode(stream) for _ in range(chunks)])
        given = self._conditions(mu, before.frame, before.prompt, before.speaker)
        noise = before.prompt.noise[before.frame : before.frame + len(mu)]
        return ChunkInput(noise, given, before.solution)

    def _encode(self, stream: "_Stream") -> Tensor:
        """mu (frames, mel) of a stream's next chunk of tokens."""
        state, chunk = stream.state, self.config.chunk_size
        codes, later = state.pending[:chunk], state.pending[chunk:]
        context = later[: self.config.pre_lookahead_len]
        mu, encoder = self.network.encode_chunk(codes, context, state.encoder)
        stream.state = replace(state, pending=later, frame=state.frame + len(mu), encoder=encoder)
        return mu

    def _conditions(self, mu: Tensor, start: int, prompt: FlowPrompt, speaker: Tensor) -> Tensor:
        """mu (n, mel), speaker and prompt mel of frames start.. side by side, (n, 3 * mel)."""
        frames = len(mu)
        mel = prompt.mel[start : start + frames].to(mu)
        mel = F.pad(mel, (0, 0, 0, frames - len(mel)))
        return torch.cat([mu, speaker.expand(frames, -1), mel], dim=1)

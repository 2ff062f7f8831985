"""Stage 'flow': train tokens to mel by conditional flow matching.

Beside the flow-matching loss the encoder's output is held close to the mel itself, which gives the
estimator a good start early. Half of the rows see a prompt, most of them through the chunk mask.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import FlowTrainingConfig, VoiceConfig, of_kind
from training.dataset import Crops, Track
from training.factored import FactoredTable, code_features
from training.loop import Training, autocast, device, trained_state
from training.speech import FRAMES_PER_TOKEN
from training.train_speaker_encoder import embeddings, load_speaker_encoder
from tritone.acoustic.attention import chunk_mask
from tritone.families.cosyvoice2.config import FlowConfig
from tritone.families.cosyvoice2.flow import FlowNetwork

HELD_OUT = 3000  # tokens of each speaker
SIGMA_MIN = 1e-6
EMBEDDINGS = 300  # reference vectors of each speaker
LONGEST_PROMPT = 0.7  # of a crop

Masks = tuple[Tensor | None, Tensor | None]


class TrainedNetwork(nn.Module, ABC):
    """A flow as it is trained; its table of codes is factored while it trains."""

    codes: FactoredTable

    def embed(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codes())

    @property
    @abstractmethod
    def outputs(self) -> tuple[nn.Linear, nn.Linear]:
        """The layers that give what is held close to the mel, and the velocity."""

    @abstractmethod
    def prior(self, embedded: Tensor, context: Tensor, masks: Masks) -> Tensor:
        """(rows, n, width) tokens and those after them -> (rows, 2 n, mel), close to the mel."""

    @abstractmethod
    def speaker(self, vectors: Tensor) -> Tensor:
        """(rows, embedding) of length one -> (rows, mel)."""

    @abstractmethod
    def velocity(self, x: Tensor, t: Tensor, mask: Tensor | None) -> Tensor:
        """x (rows, frames, inputs) at times t (rows,); the mask is added to the scores."""


class TrainedFlow(TrainedNetwork):
    """CosyVoice2's."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.flow = FlowNetwork(config)
        self.flow.token_embedding.requires_grad_(False)
        self.codes = FactoredTable(code_features(), config.input_size, 1.0)
        for layer in (self.flow.encoder.input, self.flow.encoder.upsampled_input):
            # The encoder's stream is ten times larger than what a block adds: too much for bf16.
            layer.register_forward_hook(lambda _layer, _inputs, output: output.float())

    @property
    def outputs(self) -> tuple[nn.Linear, nn.Linear]:
        return self.flow.mel_projection, self.flow.estimator.final_projection

    def prior(self, embedded: Tensor, context: Tensor, masks: Masks) -> Tensor:
        encoded = self.flow.encoder(embedded, context, masks)
        return self.flow.mel_projection(encoded)  # type: ignore[no-any-return]

    def speaker(self, vectors: Tensor) -> Tensor:
        return self.flow.speaker_projection(vectors)  # type: ignore[no-any-return]

    def velocity(self, x: Tensor, t: Tensor, mask: Tensor | None) -> Tensor:
        shifts = [shift.to(x.dtype) for shift in self.flow.estimator.time_shifts(t)]
        return self.flow.estimator(x, shifts, None, mask)  # type: ignore[no-any-return]

    @torch.no_grad()
    def folded(self) -> FlowNetwork:
        """The flow alone, with a plain table."""
        self.flow.token_embedding.weight.copy_(self.codes())
        return self.flow


def _trained_flow(_work: Path, voice: VoiceConfig) -> TrainedFlow:
    return TrainedFlow(of_kind(FlowConfig, voice.flow.model))


class FlowTraining:
    def __init__(
        self,
        work: Path,
        voice: VoiceConfig,
        network: Callable[[Path, VoiceConfig], TrainedNetwork] = _trained_flow,
    ) -> None:
        self.config: FlowTrainingConfig = voice.flow
        self.tracks = [Track(work, name) for name in voice.speakers]
        encoder = load_speaker_encoder(work, voice.speaker_encoder)
        self.voices = [embeddings(track, encoder, EMBEDDINGS) for track in self.tracks]
        self.crops = Crops(self.tracks, self.config.tokens, self.config.loop.seed, HELD_OUT)
        torch.manual_seed(self.config.loop.seed)
        self.model = network(work, voice)
        self._begin_at_the_mean()

    def _begin_at_the_mean(self) -> None:
        """Both mel outputs start as the mean mel: hundreds of steps that need not be learned."""
        mels = [
            track.mel[: HELD_OUT * FRAMES_PER_TOKEN].astype(np.float32) for track in self.tracks
        ]
        mean = torch.from_numpy(np.concatenate(mels).mean(axis=0))
        with torch.no_grad():
            for layer in self.model.outputs:
                layer.bias.copy_(mean)

    def _batch(self, rows: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Codes (rows, n), codes after them (rows, look-ahead), mel, speaker vectors."""
        tokens, ahead = self.config.tokens, self.config.model.pre_lookahead_len
        reach = tokens - ahead
        codes = np.stack([self.tracks[w].codes[a : a + tokens] for w, a in rows]).astype(np.int64)
        frames = FRAMES_PER_TOKEN
        mel = np.stack([self.tracks[w].mel[a * frames : (a + reach) * frames] for w, a in rows])
        picks = torch.randint(EMBEDDINGS, (len(rows),)).tolist()
        speaker = torch.stack(
            [self.voices[w][i % len(self.voices[w])] for (w, _), i in zip(rows, picks, strict=True)]
        )
        every = torch.from_numpy(codes)
        return every[:, :reach], every[:, reach:], torch.from_numpy(mel).float(), speaker

    def _masks(self) -> Masks:
        """The chunk mask for a share of the steps, with any chunk phase, else full attention."""
        if float(torch.rand(())) >= self.config.chunked:
            return None, None
        tokens = self.config.tokens - self.config.model.pre_lookahead_len
        chunk = self.config.model.chunk_size
        phase = int(torch.randint(chunk, ()))

        def mask(rate: int) -> Tensor:
            whole = chunk_mask((tokens + phase) * rate, chunk * rate)
            return whole[phase * rate :, phase * rate :].to(device())

        return mask(1), mask(self.config.model.token_mel_ratio)

    def _prompt(self, mel: Tensor) -> Tensor:
        """The first frames of the mel as a prompt, for a share of the rows; zeros after it."""
        rows, frames, _ = mel.shape
        lengths = torch.rand(rows) * LONGEST_PROMPT * frames
        lengths = torch.where(torch.rand(rows) < self.config.prompted, lengths, 0.0)
        given = torch.arange(frames)[None, :] < lengths[:, None]
        return mel * given[..., None].to(mel.device)

    def _losses(self, rows: list[tuple[int, int]], *, encoder_only: bool) -> dict[str, Tensor]:
        codes, ahead, mel, vectors = (part.to(device()) for part in self._batch(rows))
        masks = self._masks()
        with autocast():
            embedded = self.model.embed(torch.cat([codes, ahead], dim=1))
            embedded, context = embedded[:, : codes.shape[1]], embedded[:, codes.shape[1] :]
            mu = self.model.prior(embedded, context, masks)
        prior = (mu.float() - mel).square().mean()
        if encoder_only:
            return {"loss": prior, "prior": prior}
        matching = self._matching_loss(mu, mel, vectors, masks[1])
        loss = matching + self.config.prior_weight * prior
        return {"loss": loss, "flow": matching, "prior": prior}

    def _matching_loss(
        self, mu: Tensor, mel: Tensor, vectors: Tensor, frame_mask: Tensor | None
    ) -> Tensor:
        """Squared error of the velocity at random times on straight paths from noise to mel."""
        rows = len(mel)
        prompt = self._prompt(mel)
        t = 1 - torch.cos(torch.rand(rows, device=device()) * 0.5 * math.pi)
        noise = torch.randn_like(mel) * self.config.noise
        at = t[:, None, None]
        x = (1 - (1 - SIGMA_MIN) * at) * noise + at * mel
        velocity = mel - (1 - SIGMA_MIN) * noise
        keep = torch.rand(rows, 1, 1, device=device()) >= self.config.unconditional
        with autocast():
            speaker = self.model.speaker(F.normalize(vectors, dim=1))
            speaker = speaker[:, None].expand(-1, mel.shape[1], -1)
            given = torch.cat([mu, speaker, prompt], dim=2) * keep
            inputs = torch.cat([x, given], dim=2).to(mu.dtype)
            found = self.model.velocity(inputs, t, _additive(frame_mask, mu.dtype))
        loss: Tensor = (found.float() - velocity).square().mean()
        return loss

    def losses(self, step: int) -> dict[str, Tensor]:
        rows = self.crops.pick(step, self.config.loop.batch)
        return self._losses(rows, encoder_only=step < self.config.encoder_steps)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        torch.manual_seed(0)
        rows = self.crops.pick(0, 48, validation=True)
        found = self._losses(rows, encoder_only=False)
        return {k: float(v) for k, v in found.items()}


def _additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A boolean mask as a term of the scores, whose gradient costs nothing."""
    if mask is None:
        return None
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -math.inf)


def train(work: Path, voice: VoiceConfig) -> None:
    run = FlowTraining(work, voice)
    Training(work / "flow", run.model, voice.flow.loop).run(run.losses, run.validate)


def load_flow(work: Path, voice: VoiceConfig) -> FlowNetwork:
    trained = _trained_flow(work, voice)
    trained.load_state_dict(trained_state(work / "flow"))
    return trained.folded().eval()

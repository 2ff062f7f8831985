"""Stage 'polish': the vocoder goes on against discriminators, half of the time on the flow's mel.

By spectral distances alone a vocoder learns the mean of what it cannot know, which is heard as buzz
and dullness. Stage 'mels' writes what the flow makes of the speech codes of the first hours: a mel
smoother than the one that a recording has, and the one that the vocoder is given when it speaks.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.config import VoiceConfig, of_kind
from training.dataset import Track
from training.discriminators import Discriminators, feature_loss, fooling_loss, judging_loss
from training.loop import Training, autocast, trained_state
from training.speech import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN
from training.teachers import RATE
from training.train_flow import load_flow
from training.train_speaker_encoder import load_speaker_encoder
from training.train_vocoder import F0_SCALE, VocoderTraining, load_vocoder
from training.voices import speaker_vector
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.config import VocoderConfig
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder

NOISE_SECONDS = 30
STFT_WEIGHT, MEL_WEIGHT, PHASE_WEIGHT, FEATURE_WEIGHT = 4.0, 20.0, 4.0, 2.0


@torch.inference_mode()
def write_mels(work: Path, voice: VoiceConfig) -> None:
    """WORK/mels/SPEAKER.npy, (frames, 80) float16: each utterance of the first hours."""
    flow = Flow.of(load_flow(work, voice))
    encoder = load_speaker_encoder(work, voice.speaker_encoder)
    config = voice.flow.model
    noise = torch.randn(
        NOISE_SECONDS * 50, config.output_size, generator=torch.Generator().manual_seed(0)
    )
    noise *= config.solver.start_noise_scale
    (work / "mels").mkdir(exist_ok=True)
    for name in voice.speakers:
        track = Track(work, name)
        vector, most = speaker_vector(track, encoder), _tokens(track, voice)
        empty = torch.zeros(0, config.output_size)
        mel = np.zeros((most * FRAMES_PER_TOKEN, config.output_size), np.float16)
        for begin, end in tqdm(list(_utterances(track, most)), desc=f"mel of {name}"):
            codes = torch.from_numpy(track.codes[begin:end].astype(np.int64))
            prompt = FlowPrompt(codes[:0], empty, vector, noise)
            made = flow(codes, prompt, chunked=True, finalize=True)
            mel[begin * FRAMES_PER_TOKEN : end * FRAMES_PER_TOKEN] = made.mT.numpy()
        with written_whole(work / "mels" / f"{name}.npy") as partial, partial.open("wb") as file:
            np.save(file, mel)


def _tokens(track: Track, voice: VoiceConfig) -> int:
    """Tokens of the whole utterances within the hours that the vocoder learns from."""
    wanted = int(voice.vocoder.hours * 3600 * RATE / SAMPLES_PER_TOKEN)
    return int(track.starts[np.searchsorted(track.starts, wanted, side="right") - 1])


def _utterances(track: Track, tokens: int) -> "list[tuple[int, int]]":
    starts = track.starts[track.starts <= tokens]
    return list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))


class Duel(nn.Module):
    """The vocoder and what judges it."""

    def __init__(self, vocoder: HiFT) -> None:
        super().__init__()
        self.vocoder, self.judges = vocoder, Discriminators()


class PolishTraining(VocoderTraining):
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        super().__init__(work, voice)
        self.made = [np.load(work / "mels" / f"{name}.npy") for name in voice.speakers]
        self.loop = voice.polish
        self.model.load_state_dict(load_vocoder(work, voice).network.state_dict())
        torch.manual_seed(self.loop.seed)
        self.duel = Duel(self.model)

    def _rows(self, step: int, *, validation: bool) -> list[tuple[int, int]]:
        """Speaker and first frame of each row."""
        rng = np.random.default_rng([self.loop.seed, step, int(validation)])
        frames = self.config.frames
        rows = []
        for which in self.order:
            total = min(len(self.materials[which].mel), len(self.made[which]))
            low, high = self.split(total, validation=validation)
            rows.append((which, int(rng.integers(low, high - frames))))
        return rows

    def duel_losses(self, step: int) -> dict[str, Tensor]:
        rows = self._rows(step, validation=False)
        crops = self.crops(rows)
        for row, (which, first) in list(enumerate(rows))[step % 2 :: 2]:
            crop = self.made[which][first : first + self.config.frames].astype(np.float32)
            crops.mel[row] = torch.from_numpy(crop.T)
        found, near = self.decoded(crops)
        with autocast():
            real, made = self.duel.judges(crops.wav), self.duel.judges(found.detach())
            fooled = self.duel.judges.frozen(found)
        judged, fooling = judging_loss(real, made), fooling_loss(fooled)
        features = feature_loss(real, fooled)
        loss = STFT_WEIGHT * near["stft"] + MEL_WEIGHT * near["mel"] + near["f0"] / F0_SCALE
        loss = loss + PHASE_WEIGHT * near["phase"] + fooling + FEATURE_WEIGHT * features + judged
        return {"loss": loss, "judged": judged, "fooling": fooling, "features": features} | near


def train(work: Path, voice: VoiceConfig) -> None:
    if not voice.polish.steps:
        return
    run = PolishTraining(work, voice)
    Training(work / "polish", run.duel, voice.polish).run(run.duel_losses, run.validate)


def load_polished(work: Path, voice: VoiceConfig) -> Vocoder:
    """The vocoder as it came out of the stage; as it was before where that has no steps."""
    if not voice.polish.steps:
        return load_vocoder(work, voice)
    network = HiFT(of_kind(VocoderConfig, voice.vocoder.model))
    network.load_state_dict(trained_state(work / "polish", "vocoder."))
    return Vocoder(network.eval(), RATE)

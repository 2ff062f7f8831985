"""Stage 'listener': which phoneme each pair of frames of a speech code stands for.

A small network over neighbouring codes. It ships beside the speech tokenizer: with it the front end
tells whether a transcript is that of a recording, and where in the recording a word ends.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import VoiceConfig
from training.dataset import Crops, Track
from training.fsq import DIGITS, LEVELS, digits_of
from training.loop import Training, device, trained_state
from training.onnx_graph import FLOAT, Graph
from training.speech import FRAMES_PER_TOKEN
from training.train_tokenizer import PhonemeClasses

HELD_OUT = 3000  # tokens of each speaker
REACH = 4  # codes to either side
HIDDEN = 160
TOKENS = 100  # length of a training crop


class Listener(nn.Module):
    """(rows, n) codes -> (rows, 2n, classes) scores; class 0 is silence and punctuation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.input = nn.Conv1d(DIGITS, HIDDEN, 2 * REACH + 1, padding=REACH)
        self.middle = nn.Conv1d(HIDDEN, HIDDEN, 1)
        self.output = nn.Conv1d(HIDDEN, FRAMES_PER_TOKEN * classes, 1)

    def forward(self, codes: Tensor) -> Tensor:
        digits = (digits_of(codes) - LEVELS // 2).float().mT
        x = F.relu(self.middle(F.relu(self.input(digits))))
        scores: Tensor = self.output(x).mT
        return scores.reshape(len(scores), -1, self.classes)


class ListenerTraining:
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.loop = voice.listener
        self.tracks = [Track(work, name) for name in voice.speakers]
        classes = PhonemeClasses()
        self.labels = [classes(track.frame_phonemes) for track in self.tracks]
        self.crops = Crops(self.tracks, TOKENS, self.loop.seed, HELD_OUT)
        torch.manual_seed(self.loop.seed)
        self.model = Listener(classes.count)

    def _losses(self, rows: list[tuple[int, int]]) -> dict[str, Tensor]:
        """Every other row is badly recorded."""
        codes, labels = [], []
        for row, (which, a) in enumerate(rows):
            track = self.tracks[which]
            source = track.codes if row // len(self.tracks) % 2 else track.worn_codes
            codes.append(source[a : a + TOKENS].astype(np.int64))
            frames = slice(a * FRAMES_PER_TOKEN, (a + TOKENS) * FRAMES_PER_TOKEN)
            labels.append(self.labels[which][frames])
        wanted = torch.from_numpy(np.stack(labels)).flatten().to(device())
        scores = self.model(torch.from_numpy(np.stack(codes)).to(device())).flatten(0, 1)
        right = (scores.argmax(1) == wanted).float().mean()
        return {"loss": F.cross_entropy(scores, wanted), "accuracy": right}

    def losses(self, step: int) -> dict[str, Tensor]:
        return self._losses(self.crops.pick(step, self.loop.batch))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        found = self._losses(self.crops.pick(0, 64, validation=True))
        return {k: float(v) for k, v in found.items()}


def train(work: Path, voice: VoiceConfig) -> None:
    run = ListenerTraining(work, voice)
    Training(work / "listener", run.model, voice.listener).run(run.losses, run.validate)


def load_listener(work: Path) -> Listener:
    listener = Listener(PhonemeClasses().count)
    listener.load_state_dict(trained_state(work / "listener"))
    return listener.eval()


def write_listener(listener: Listener, path: Path) -> None:
    """listener.onnx: digits (1, 8, n), each -1, 0 or 1 -> log_probs (1, 2n, classes)."""
    graph = Graph("listener")
    x = graph.input("digits", FLOAT, [1, DIGITS, "tokens"])
    for conv in (listener.input, listener.middle, listener.output):
        assert conv.bias is not None and isinstance(conv.padding, tuple)
        x = graph.conv(x, conv.weight, conv.bias, pads=2 * list(conv.padding))
        x = x if conv is listener.output else graph.node("Relu", x)
    shape = graph.integers(1, -1, listener.classes)
    x = graph.node("LogSoftmax", graph.node("Reshape", graph.swap(x), shape), axis=2)
    graph.output(x, "log_probs", FLOAT, [1, "frames", listener.classes])
    graph.save(path)

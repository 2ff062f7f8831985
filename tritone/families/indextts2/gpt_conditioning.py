"""Who speaks and how: features of recordings to the first rows of a prompt."""

import torch
from torch import Tensor, nn

from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.gpt_conformer import Conformer
from tritone.families.indextts2.gpt_perceiver import Perceiver

_SPEED_ROWS = (1, 0)  # in the order of the prompt: always both, the release has no other speed


class Conditioner(nn.Module):
    def __init__(self, features: int, config: ConditionerConfig) -> None:
        super().__init__()
        self.conformer = Conformer(features, config)
        self.perceiver = Perceiver(config)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x, valid: as `Conformer` takes them -> (rows, latents, latent_width)."""
        return self.perceiver(*self.conformer(x, valid))  # type: ignore[no-any-return]


class Conditioning(nn.Module):
    """Reads features of w2v-bert, (rows, n, features)."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.of_speaker = Conditioner(config.features, config.speaker)
        self.of_emotion = Conditioner(config.features, config.emotion)
        self.emotion_input = nn.Linear(config.emotion.latent_width, config.width)
        self.emotion_output = nn.Linear(config.width, config.width)
        self.speed = nn.Parameter(torch.zeros(2, config.width))

    def speaker(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(rows, latents, width)."""
        return self.of_speaker(x, valid)  # type: ignore[no-any-return]

    def emotion(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(rows, width)."""
        return self.emotion_output(self.emotion_input(self.of_emotion(x, valid)[:, 0]))  # type: ignore[no-any-return]

    def prefix(self, speaker: Tensor, emotion: Tensor) -> Tensor:
        """What `speaker` and `emotion` gave -> (rows, latents + 2, width)."""
        speed = self.speed[list(_SPEED_ROWS)].expand(len(speaker), -1, -1)
        return torch.cat([speaker + emotion[:, None], speed], dim=1)


def merged(own: Tensor, other: Tensor, weight: float) -> Tensor:
    """The emotion of another recording in place of the speaker's own: 0 is none of it, 1 all."""
    return own + weight * (other - own)

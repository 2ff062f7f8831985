"""What the language model goes on from: who speaks and how, by features of recordings, and text."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.gpt_conformer import Conformer
from tritone.families.indextts2.gpt_perceiver import Perceiver

_TEXT_START, _TEXT_STOP = 0, 1
_SPEED_ROWS = (1, 0)  # in the order of the prompt: always both, the release has no other speed


class Conditioner(nn.Module):
    def __init__(self, features: int, config: ConditionerConfig) -> None:
        super().__init__()
        self.conformer = Conformer(features, config)
        self.perceiver = Perceiver(config)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x, valid: as `Conformer` takes them -> (rows, latents, latent_width)."""
        return self.perceiver(*self.conformer(x, valid))  # type: ignore[no-any-return]


class Prompter(nn.Module):
    """All of the language model that stands before its decoder."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        width = config.width
        self.of_speaker = Conditioner(config.features, config.speaker)
        self.of_emotion = Conditioner(config.features, config.emotion)
        self.emotion_input = nn.Linear(config.emotion.latent_width, width)
        self.emotion_output = nn.Linear(width, width)
        self.speed = nn.Parameter(torch.zeros(2, width))
        self.text_embedding = nn.Parameter(torch.zeros(config.text_ids + 1, width))
        self.text_position = nn.Parameter(torch.zeros(config.text_positions, width))

    def speaker(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features of w2v-bert, (rows, n, features) -> (rows, latents, width)."""
        return self.of_speaker(x, valid)  # type: ignore[no-any-return]

    def emotion(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features of w2v-bert, (rows, n, features) -> (rows, width)."""
        return self.emotion_output(self.emotion_input(self.of_emotion(x, valid)[:, 0]))  # type: ignore[no-any-return]

    def prefix(self, speaker: Tensor, emotion: Tensor) -> Tensor:
        """What `speaker` and `emotion` gave -> (rows, latents + 2, width)."""
        speed = self.speed[list(_SPEED_ROWS)].expand(len(speaker), -1, -1)
        return torch.cat([speaker + emotion[:, None], speed], dim=1)

    def text_rows(self, ids: Sequence[int]) -> Tensor:
        """(n + 2, width) of n pieces between start and stop. Ids of those two within the text are
        left out."""
        kept = [id for id in ids if id not in (_TEXT_START, _TEXT_STOP)]
        whole = torch.tensor([_TEXT_START, *kept, _TEXT_STOP], device=self.text_embedding.device)
        return self.text_embedding[whole] + self.text_position[: len(whole)]

    def prompt(self, prefix: Tensor, text: Sequence[int]) -> Tensor:
        """(1, m, width) prefix and n pieces of text -> (1, m + n + 2, width)."""
        return torch.cat([prefix, self.text_rows(text)[None]], dim=1)


def merged(own: Tensor, other: Tensor, weight: float) -> Tensor:
    """The emotion of another recording in place of the speaker's own: 0 is none of it, 1 all."""
    return own + weight * (other - own)

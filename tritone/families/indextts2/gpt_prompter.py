"""What the decoder of the language model goes on from: who speaks and how, and the text."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tritone.families.indextts2.gpt_config import SPEED_ROWS, GptConfig

_TEXT_START, _TEXT_STOP = 0, 1


class Prompter(nn.Module):
    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.speed = nn.Parameter(torch.zeros(len(SPEED_ROWS), config.width))
        self.text_embedding = nn.Parameter(torch.zeros(config.text_ids + 1, config.width))
        self.text_position = nn.Parameter(torch.zeros(config.text_positions, config.width))

    def prefix(self, speaker: Tensor, emotion: Tensor) -> Tensor:
        """Of `Conditioning`: speaker (rows, latents, width), emotion (rows, width) -> (rows,
        latents + 2, width)."""
        speed = self.speed[list(SPEED_ROWS)].expand(len(speaker), -1, -1)
        return torch.cat([speaker + emotion[:, None], speed], dim=1)

    def text_rows(self, ids: Sequence[int]) -> Tensor:
        """(n + 2, width) of n pieces between start and stop. Ids of those two within the text are
        left out."""
        kept = [id for id in ids if id not in (_TEXT_START, _TEXT_STOP)]
        whole = torch.tensor([_TEXT_START, *kept, _TEXT_STOP], device=self.text_embedding.device)
        return self.text_embedding[whole] + self.text_position[: len(whole)]

    def forward(self, prefix: Tensor, text: Sequence[int]) -> Tensor:
        """(1, m, width) prefix and n pieces of text -> (1, m + n + 2, width)."""
        return torch.cat([prefix, self.text_rows(text)[None]], dim=1)
